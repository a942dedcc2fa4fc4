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
	compared := r.sorted(func(s sample) float64 { return s.Ns })
	if r.run.keys != nil {
		compared = r.sortedValues(0)
		var samples []map[string]float64
		for _, values := range r.run.values {
			figures := map[string]float64{}
			for i, key := range r.run.keys {
				figures[key] = values[i]
			}
			samples = append(samples, figures)
		}
		fields["samples"] = samples
	} else {
		fields["operations"] = r.run.operations
		fields["samples"] = r.run.samples
	}
	fields["median"] = compared[len(compared)/2]
	fields["min"], fields["max"] = compared[0], compared[len(compared)-1]
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

// sortedValues has the values of one of the figures that are not times of an operation, in order.
func (r row) sortedValues(figure int) []float64 {
	var sorted []float64
	for _, values := range r.run.values {
		sorted = append(sorted, values[figure])
	}
	sort.Float64s(sorted)
	return sorted
}

// print writes a line, or one for each of the figures that are not times of an operation.
func (r row) print() {
	printHead := func(sorted []float64) {
		fmt.Printf("%-34s%8d%12.1f%12.1f%12.1f", r.name, r.run.workers,
			sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1])
	}
	for i, key := range r.run.keys {
		printHead(r.sortedValues(i))
		fmt.Printf(" %s\n", key)
	}
	if r.run.keys == nil {
		cpuNs := r.sorted(func(s sample) float64 { return s.CPUNs })
		switches := r.sorted(func(s sample) float64 { return s.Switches })
		printHead(r.sorted(func(s sample) float64 { return s.Ns }))
		fmt.Printf("%12.1f%12.4f\n", cpuNs[len(cpuNs)/2], switches[len(switches)/2])
	}
}
