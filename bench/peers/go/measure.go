package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// How long a workload is warmed up, after a first iteration.
const warmUp = 50 * time.Millisecond

// processUsage is the CPU time, user and system, and the context switches of all threads so far.
func processUsage() (cpuNs, switches int64) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail("getrusage: %v", err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano(), usage.Nvcsw + usage.Nivcsw
}

// The bytes of memory that the process has resident.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		fail("%v", err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		fail("/proc/self/statm: %v", err)
	}
	return pages * int64(os.Getpagesize())
}

// fail is what a wrong answer leads to.
func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "skua-peer-go: "+format+"\n", arguments...)
	os.Exit(1)
}

func check[T comparable](what string, got, want T) {
	if got != want {
		fail("%s: %v, expected %v", what, got, want)
	}
}

// What one operation took.
type sample struct {
	Ns       float64 `json:"ns"`
	CPUNs    float64 `json:"cpu_ns"`
	Switches float64 `json:"switches"`
}

// One run of one workload.
type run struct {
	workers    int // GOMAXPROCS; a workload that needs a certain number changes it
	wanted     int // how many samples
	min        time.Duration
	quick      bool
	operations int // of one iteration
	samples    []sample
	// Instead of samples: the keys of other figures in the JSON, and for each sample their values.
	keys   []string
	values [][]float64
}

// setWorkers is for a workload that needs a certain number of them.
func (r *run) setWorkers(workers int) {
	r.workers = workers
	runtime.GOMAXPROCS(workers)
}

// measure warms up, and takes the samples: each so many iterations that they last long enough.
func (r *run) measure(iteration func()) {
	r.measurePart(func() time.Duration {
		start := time.Now()
		iteration()
		return time.Since(start)
	})
}

// measurePart is the same for an iteration that says itself how long the part of it took that
// counts. CPU time and context switches are those of all of it.
func (r *run) measurePart(iteration func() time.Duration) {
	start := time.Now()
	for {
		iteration()
		if time.Since(start) >= warmUp {
			break
		}
	}
	for i := 0; i < r.wanted; i++ {
		var spent time.Duration
		operations := 0
		cpuNs, switches := processUsage()
		for operations == 0 || spent < r.min {
			spent += iteration()
			operations += r.operations
		}
		cpuNsNow, switchesNow := processUsage()
		r.samples = append(r.samples, sample{
			Ns:       float64(spent.Nanoseconds()) / float64(operations),
			CPUNs:    float64(cpuNsNow-cpuNs) / float64(operations),
			Switches: float64(switchesNow-switches) / float64(operations),
		})
	}
}
