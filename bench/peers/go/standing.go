package main

import (
	"runtime"
	"sync/atomic"
	"time"
)

// A goroutine's handle is the channel that is closed at its end.
type handle chan struct{}

// park starts a goroutine with 64 bytes of state for each handle, and comes back when all of them
// wait for the event, which does not come while anything is measured.
func park(event <-chan struct{}, handles []handle) {
	var parked atomic.Int64
	for i := range handles {
		done := make(handle)
		handles[i] = done
		state := [8]int{i}
		go func() {
			parked.Add(1)
			<-event
			runtime.KeepAlive(&state)
			close(done)
		}()
	}
	for parked.Load() < int64(len(handles)) {
		time.Sleep(time.Millisecond)
	}
}

func join(handles []handle) {
	for _, done := range handles {
		<-done
	}
}

const parkedTasks = 1_000_000

// memory is true only for the first measurement of a process, since freed memory stays resident.
func memory(r *run) {
	event := make(chan struct{})
	// The memory that the handles themselves stand in is touched, and not counted.
	handles := make([]handle, r.operations)
	for i := range handles {
		handles[i] = handle(event)
	}
	before := resident()
	park(event, handles)
	bytes := resident() - before
	r.keys = []string{"bytes"}
	r.values = [][]float64{{float64(bytes) / float64(r.operations)}}
	close(event)
	join(handles)
}

const probes = 100

// worstStart is how long a goroutine that comes from outside waits for its start, at worst, while
// two others wake each other for ever.
func worstStart() time.Duration {
	there, back, end := make(chan bool), make(chan bool), make(chan bool)
	go func() {
		for more := range there {
			back <- more
		}
		close(end)
	}()
	var stopped atomic.Bool
	go func() {
		for !stopped.Load() {
			there <- true
			<-back
		}
		close(there)
	}()
	var worst time.Duration
	fromThread(func() {
		for n := 0; n < probes; n++ {
			delay := make(chan time.Duration, 1)
			spawned := time.Now()
			go func() { delay <- time.Since(spawned) }()
			worst = max(worst, <-delay)
		}
	})
	stopped.Store(true)
	<-end
	return worst
}

func fairness(r *run) {
	r.keys = []string{"worst_ns"}
	for i := 0; i < r.wanted; i++ {
		r.values = append(r.values, []float64{float64(worstStart().Nanoseconds())})
	}
}

// idle is the CPU time, in each second, of a process whose goroutines are all parked. A window has
// 2 s; five of them are the 10 s of the workload.
func idle(r *run) {
	event := make(chan struct{})
	handles := make([]handle, 1000)
	park(event, handles)
	window := 2 * time.Second
	if r.quick {
		window = 400 * time.Millisecond
	}
	r.keys = []string{"cpu_ns_per_s"}
	for i := 0; i < r.wanted; i++ {
		time.Sleep(500 * time.Millisecond)
		before, _ := processUsage()
		time.Sleep(window)
		after, _ := processUsage()
		r.values = append(r.values, []float64{float64(after-before) / window.Seconds()})
	}
	close(event)
	join(handles)
}
