// Skua's benchmarks in Go: the same workloads, command line and JSON as skua-bench.
// Goroutines stand for tasks, GOMAXPROCS for the number of workers.
package main

import (
	"flag"
	"fmt"
	"os"
	"path"
	"runtime"
	"strings"
	"time"
)

const usage = `usage: skua-peer-go engine|time|scope [OPTION]...

  --list          print the names of the workloads
  --filter GLOB   only workloads whose name matches; without * ? [ a part of it will do
  --workers N     GOMAXPROCS (default: number of CPUs)
  --samples N     samples of each workload (default 5)
  --min-ms MS     what a sample takes at least (default 50)
  --quick         idle and live in windows of 0.4 s instead of 2 s, live with 10^5 timers
  --json FILE     write JSON to a file, or to standard output with -, instead of the table

skua-peer-go net is a server to be measured; see skua-peer-go net --help.
`

type workload struct {
	name       string
	operations int
	run        func(*run) // nil: there is no counterpart
	reason     string
}

func workloads(family string) []workload {
	var all []workload
	switch family {
	case "engine":
		all = engineWorkloads()
	case "time":
		all = timeWorkloads()
	case "scope":
		all = scopeWorkloads()
	default:
		refuse("%s: expected engine, time or scope", family)
	}
	for i := range all {
		all[i].name = family + "/" + all[i].name
	}
	return all
}

func timeWorkloads() []workload {
	return []workload{
		{"insert_cancel", timers, insertCancel, ""},
		{"insert_cancel_one", singleTimers, insertCancelOne, ""},
		{"timeout_ready", timeouts, timeoutReady, ""},
		{"timeout_pending", timeouts, timeoutPending, ""},
		// The last, since its goroutines outlive it by a period.
		{"live", 1, live, ""},
	}
}

func scopeWorkloads() []workload {
	over := func(branches int, one func([]chan int) int) func(*run) {
		return func(r *run) { selectOver(r, branches, one) }
	}
	all := []workload{
		{"join", scopeTasks, scopeJoin, ""},
		{"results", scopeResults, scopeResultsOneByOne, ""},
		{"nested", nestedScopes * (1 + nestedTasks), scopeNested, ""},
		{"cancel", cancelledTasks, scopeCancel, ""},
		{"select_2", selects, over(2, select2), ""},
		{"select_8", selects, over(8, select8), ""},
		{"select_64", selects, over(64, select64), ""},
	}
	for _, branches := range []int{2, 8, 64} {
		all = append(all, workload{fmt.Sprintf("select_biased_%d", branches), 0, nil,
			"select has no order in Go"})
	}
	for _, branches := range []int{2, 8, 64} {
		all = append(all, workload{fmt.Sprintf("select_timers_%d", branches), 0, nil,
			"a timer is no channel's case of its own in Go"})
	}
	return all
}

func engineWorkloads() []workload {
	all := []workload{
		// First of all: memory that other workloads have freed would be used again.
		{"memory", parkedTasks, memory, ""},
		{"spawn_many_local", 10_000, spawnManyLocal, ""},
		{"spawn_many_remote_idle", 10_000, spawnManyRemote, ""},
		{"spawn_many_remote_busy1", 10_000, spawnManyRemoteBusy1, ""},
		{"spawn_many_remote_busy2", 1000, spawnManyRemoteBusy2, ""},
		{"yield_many", yieldingTasks * yields, yieldMany, ""},
		{"ping_pong", 1000, pingPong, ""},
		{"chained_spawn", 1000, chainedSpawn, ""},
		{"spawn", 1, spawnOne, ""},
		{"spawn10", 10, spawnTen, ""},
	}
	for _, producers := range []int{1, 2, 4, 8, 16} {
		all = append(all, workload{fmt.Sprintf("remote_spawn_%d", producers), 12_800,
			func(r *run) { remoteSpawn(r, producers) }, ""})
	}
	for _, tasks := range []int{1, 4, 16} {
		all = append(all, workload{fmt.Sprintf("spawn_blocking_%d", tasks), 0, nil,
			"Go has no pool for calls that block: any goroutine may"})
	}
	return append(all,
		workload{"skynet", skynetTasks, skynet, ""},
		workload{"ring", ringTasks * ringLaps, ring, ""},
		workload{"fib", fibTasks, fib, ""},
		workload{"nqueens", nqueensTasks, nqueens, ""},
		workload{"fairness", 1, fairness, ""},
		workload{"fairness_polls", 0, nil,
			"in Go the one that spawns takes turns with the others"},
		workload{"idle", 1, idle, ""},
	)
}

func wanted(filter, name string) bool {
	if !strings.ContainsAny(filter, "*?[") {
		return strings.Contains(name, filter)
	}
	// A star goes across the slash, as everywhere else.
	flat := func(text string) string { return strings.ReplaceAll(text, "/", "|") }
	matches, err := path.Match(flat(filter), flat(name))
	if err != nil {
		refuse("--filter=%s: %v", filter, err)
	}
	return matches
}

func refuse(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "skua-peer-go: "+format+"\n", arguments...)
	os.Exit(2)
}

func main() {
	flags := flag.NewFlagSet("skua-peer-go", flag.ExitOnError)
	flags.Usage = func() { fmt.Print(usage) }
	list := flags.Bool("list", false, "")
	filter := flags.String("filter", "", "")
	workers := flags.Int("workers", runtime.NumCPU(), "")
	samples := flags.Int("samples", 5, "")
	minMs := flags.Int("min-ms", 50, "")
	quick := flags.Bool("quick", false, "")
	json := flags.String("json", "", "")

	arguments := os.Args[1:]
	if len(arguments) == 0 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if arguments[0] == "net" {
		serveNet(arguments[1:])
		return
	}
	family := "engine"
	if !strings.HasPrefix(arguments[0], "-") {
		family, arguments = arguments[0], arguments[1:]
	}
	flags.Parse(arguments)
	if flags.NArg() > 0 {
		refuse("unknown argument %s", flags.Arg(0))
	}
	if *workers < 1 || *samples < 1 || *minMs < 1 {
		refuse("--workers, --samples, --min-ms: expected a number from 1")
	}

	report := newReport()
	found := false
	for _, w := range workloads(family) {
		if !wanted(*filter, w.name) {
			continue
		}
		found = true
		if *list {
			fmt.Println(w.name)
			continue
		}
		if w.run == nil {
			report.Skipped = append(report.Skipped, skip{w.name, w.reason})
			continue
		}
		progress(w.name)
		r := run{
			wanted:     *samples,
			min:        time.Duration(*minMs) * time.Millisecond,
			quick:      *quick,
			operations: w.operations,
		}
		r.setWorkers(*workers)
		runtime.GC()
		w.run(&r)
		report.Results = append(report.Results, row{w.name, &r})
	}
	if !found {
		refuse("no workload matches")
	}
	if !*list {
		progress("")
		report.write(*json)
	}
}
