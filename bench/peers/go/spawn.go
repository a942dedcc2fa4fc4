package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const stallTime = 10 * time.Microsecond

// stall keeps the thread busy, but lets other threads run.
func stall() {
	start := time.Now()
	for time.Since(start) < stallTime {
		syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0)
	}
}

// fromThread runs what a thread outside the runtime does. Go has no such threads: the nearest is
// a goroutine that has an OS thread for itself.
func fromThread(what func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	what()
}

// The last of the goroutines tells the one that waits.
func spawnManyLocal(r *run) {
	done := make(chan struct{}, 1000)
	var left atomic.Int64
	r.measure(func() {
		left.Store(int64(r.operations))
		for i := 0; i < r.operations; i++ {
			go func() {
				if left.Add(-1) == 0 {
					done <- struct{}{}
				}
			}()
		}
		<-done
	})
	check("tasks left", left.Load(), 0)
}

// spawnManyRemote spawns empty goroutines from a thread of its own, and awaits them.
func spawnManyRemote(r *run) {
	fromThread(func() {
		r.measure(func() {
			var all sync.WaitGroup
			for i := 0; i < r.operations; i++ {
				all.Add(1)
				go all.Done()
			}
			all.Wait()
		})
	})
}

// The threads are busy with goroutines that stall and yield.
func spawnManyRemoteBusy1(r *run) {
	var stopped atomic.Bool
	for i := 0; i < 2*r.workers; i++ {
		go func() {
			for !stopped.Load() {
				runtime.Gosched()
				stall()
			}
		}()
	}
	spawnManyRemote(r)
	stopped.Store(true)
}

// The threads are busy with goroutines that stall and spawn a successor.
func spawnManyRemoteBusy2(r *run) {
	var stopped atomic.Bool
	var chain func()
	chain = func() {
		if !stopped.Load() {
			stall()
			go chain()
		}
	}
	for i := 0; i < r.workers; i++ {
		go chain()
	}
	spawnManyRemote(r)
	stopped.Store(true)
}

func chainedSpawn(r *run) {
	done := make(chan struct{}, 1000)
	var chain func(n int)
	chain = func(n int) {
		if n == 0 {
			done <- struct{}{}
		} else {
			go chain(n - 1)
		}
	}
	r.measure(func() {
		go chain(r.operations)
		<-done
	})
}

// spawnWork starts a goroutine that yields once; its result comes through the channel.
func spawnWork() <-chan int {
	result := make(chan int, 1)
	go func() {
		value := 1 + 1
		runtime.Gosched()
		result <- value
	}()
	return result
}

// One at a time, on one thread.
func spawnOne(r *run) {
	r.setWorkers(1)
	r.measure(func() {
		check("spawn", <-spawnWork(), 2)
	})
}

// Ten at a time, on one thread.
func spawnTen(r *run) {
	r.setWorkers(1)
	r.measure(func() {
		var results [10]<-chan int
		for i := range results {
			results[i] = spawnWork()
		}
		for _, result := range results {
			check("spawn10", <-result, 2)
		}
	})
}

// remoteSpawn spawns from several threads at once. The clock runs from the barrier to the last
// producer's last spawn.
func remoteSpawn(r *run, producers int) {
	share := r.operations / producers
	r.measurePart(func() time.Duration {
		var ready, all sync.WaitGroup
		ready.Add(producers)
		all.Add(producers)
		barrier := make(chan struct{})
		starts := make([]time.Time, producers)
		ends := make([]time.Time, producers)
		for i := 0; i < producers; i++ {
			go fromThread(func() {
				var tasks sync.WaitGroup
				tasks.Add(share)
				ready.Done()
				<-barrier
				starts[i] = time.Now()
				for n := 0; n < share; n++ {
					go tasks.Done()
				}
				ends[i] = time.Now()
				tasks.Wait()
				all.Done()
			})
		}
		ready.Wait()
		close(barrier)
		all.Wait()
		first, last := starts[0], ends[0]
		for i := range starts {
			if starts[i].Before(first) {
				first = starts[i]
			}
			if ends[i].After(last) {
				last = ends[i]
			}
		}
		return last.Sub(first)
	})
}
