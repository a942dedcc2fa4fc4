package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
)

// A workload that was run.
type row struct {
	name string
	run  *run
}

func (r row) MarshalJSON() ([]byte, error) {
	fields := map[string]any{"name": r.name, "workers": r.run.workers}
	ns := r.compared()
	fields["median"], fields["min"], fields["max"] = ns[len(ns)/2], ns[0], ns[len(ns)-1]
	if r.run.key != "" {
		var samples []map[string]float64
		for _, value := range r.run.values {
			samples = append(samples, map[string]float64{r.run.key: value})
		}
		fields["samples"] = samples
	} else {
		fields["operations"] = r.run.operations
		fields["samples"] = r.run.samples
	}
	return json.Marshal(fields)
}

type skip struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// What the program prints.
type report struct {
	Program  string `json:"program"`
	Version  string `json:"version"`
	Language string `json:"language"`
	Results  []row  `json:"results"`
	Skipped  []skip `json:"skipped"`
}

func newReport() *report {
	return &report{
		Program:  "go",
		Version:  strings.TrimPrefix(runtime.Version(), "go"),
		Language: runtime.Version(),
		Results:  []row{},
		Skipped:  []skip{},
	}
}

// progress says what is being measured, in a line that the next one overwrites.
func progress(name string) {
	info, err := os.Stderr.Stat()
	if err == nil && info.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprintf(os.Stderr, "\r\x1b[K%s", name)
	}
}

func (r *report) write(path string) {
	if path == "" {
		r.printTable()
		return
	}
	text, err := json.Marshal(r)
	if err == nil {
		text = append(text, '\n')
		if path == "-" {
			_, err = os.Stdout.Write(text)
		} else {
			err = os.WriteFile(path, text, 0o644)
		}
	}
	if err != nil {
		fail("%v", err)
	}
}

func (r *report) printTable() {
	fmt.Printf("%s %s\n%-34s%8s%12s%12s%12s%12s%12s\n", r.Program, r.Version,
		"workload", "workers", "ns/op", "min", "max", "cpu ns/op", "switches/op")
	for _, row := range r.Results {
		row.print()
	}
	for _, skip := range r.Skipped {
		fmt.Printf("%-34sskipped: %s\n", skip.Name, skip.Reason)
	}
}

// sorted has the values of one field, in order.
func (r row) sorted(field func(sample) float64) []float64 {
	var values []float64
	for _, sample := range r.run.samples {
		values = append(values, field(sample))
	}
	sort.Float64s(values)
	return values
}

// compared has what is compared with others, in order: times, or values.
func (r row) compared() []float64 {
	if r.run.key == "" {
		return r.sorted(func(s sample) float64 { return s.Ns })
	}
	values := append([]float64{}, r.run.values...)
	sort.Float64s(values)
	return values
}

func (r row) print() {
	fmt.Printf("%-34s%8d", r.name, r.run.workers)
	ns := r.compared()
	middle := len(ns) / 2
	if r.run.key != "" {
		fmt.Printf("%12.1f%12.1f%12.1f %s\n", ns[middle], ns[0], ns[len(ns)-1], r.run.key)
		return
	}
	cpuNs := r.sorted(func(s sample) float64 { return s.CPUNs })
	switches := r.sorted(func(s sample) float64 { return s.Switches })
	fmt.Printf("%12.1f%12.1f%12.1f%12.1f%12.4f\n",
		ns[middle], ns[0], ns[len(ns)-1], cpuNs[middle], switches[middle])
}
