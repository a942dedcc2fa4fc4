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
	r.key, r.value = "bytes", float64(bytes)/float64(r.operations)
	close(event)
	join(handles)
}

const probes = 100

// fairness is how long a goroutine that comes from outside waits for its start, at worst, while
// two others wake each other for ever.
func fairness(r *run) {
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
	r.key, r.value = "worst_ns", float64(worst.Nanoseconds())
}

// idle is the CPU time, in each second, of a process whose goroutines are all parked.
func idle(r *run) {
	event := make(chan struct{})
	handles := make([]handle, 1000)
	park(event, handles)
	time.Sleep(500 * time.Millisecond)
	length := 10 * time.Second
	if r.quick {
		length = 2 * time.Second
	}
	before, _ := processUsage()
	time.Sleep(length)
	after, _ := processUsage()
	r.key, r.value = "cpu_ns_per_s", float64(after-before)/length.Seconds()
	close(event)
	join(handles)
}
