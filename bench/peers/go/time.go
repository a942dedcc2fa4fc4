package main

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	timers       = 1_000_000
	singleTimers = 100_000
	timeouts     = 100_000
)

// timerLengths are from a second to 68 minutes, each octave as likely as any other: the same in all
// programs. None of these timers fires while something is measured.
func timerLengths(count int) []time.Duration {
	lengths := make([]time.Duration, count)
	x := uint64(88172645463325252)
	for i := range lengths {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		octave := uint64(time.Second) << ((x >> 32) % 12)
		lengths[i] = time.Duration(octave + x%octave)
	}
	return lengths
}

func neverFires() { fail("a timer fired that was to be cancelled") }

// The runtime arms such a timer at once; one with a channel, only when somebody waits on that.
func armTimer(length time.Duration) *time.Timer {
	return time.AfterFunc(length, neverFires)
}

// insertCancel has all timers live at once, then cancels them in the order in which they were armed.
func insertCancel(r *run) {
	lengths := timerLengths(r.operations)
	live := make([]*time.Timer, len(lengths))
	r.measure(func() {
		for i, length := range lengths {
			live[i] = armTimer(length)
		}
		cancelled := 0
		for i, timer := range live {
			if timer.Stop() {
				cancelled++
			}
			live[i] = nil
		}
		check("cancelled timers", cancelled, len(lengths))
	})
}

// insertCancelOne cancels each timer before the next is armed.
func insertCancelOne(r *run) {
	lengths := timerLengths(r.operations)
	r.measure(func() {
		cancelled := 0
		for _, length := range lengths {
			if armTimer(length).Stop() {
				cancelled++
			}
		}
		check("cancelled timers", cancelled, len(lengths))
	})
}

const timeoutLength = 5 * time.Second

// await is a timeout around an operation whose value comes by a channel, when `start` has begun it.
func await(values <-chan int, start func()) int {
	ctx, cancel := context.WithTimeout(context.Background(), timeoutLength)
	defer cancel()
	start()
	select {
	case value := <-values:
		return value
	case <-ctx.Done():
		fail("a timeout of %v is over", timeoutLength)
		return 0
	}
}

// The value is there before it is awaited.
func timeoutReady(r *run) {
	values := make(chan int, 1)
	r.measure(func() {
		sum := 0
		for i := 0; i < timeouts; i++ {
			sum += await(values, func() { values <- i })
		}
		check("timeout_ready", sum, timeouts*(timeouts-1)/2)
	})
}

// The value comes from another goroutine, when this one waits.
func timeoutPending(r *run) {
	requests, values := make(chan int), make(chan int)
	defer close(requests)
	go func() {
		for value := range requests {
			values <- value
		}
	}()
	r.measure(func() {
		sum := 0
		for i := 0; i < timeouts; i++ {
			sum += await(values, func() { requests <- i })
		}
		check("timeout_pending", sum, timeouts*(timeouts-1)/2)
	})
}

const (
	liveTimers      = 1_000_000
	liveTimersQuick = 100_000
	// How many timers fire in a second, as long as nothing is late for good.
	liveRate = 100_000
	// How long before the first of them is due, and after the last has been armed the first window.
	liveLead, liveSettling = 200 * time.Millisecond, 500 * time.Millisecond
	// Lateness is counted in whole microseconds; whatever is later, in the last place.
	latestUs = 1_000_000
)

var (
	armed atomic.Int64
	late  [latestUs + 1]atomic.Uint32
)

// metronome fires once in each period, and counts how late.
func metronome(due time.Time, period time.Duration, stopped *atomic.Bool) {
	armed.Add(1)
	for !stopped.Load() {
		time.Sleep(time.Until(due))
		late[min(time.Since(due).Microseconds(), latestUs)].Add(1)
		due = due.Add(period)
	}
}

// lateness is what a share of the counted timers was not later than, in ns.
func lateness(counts []uint64, share float64) float64 {
	all := uint64(0)
	for _, count := range counts {
		all += count
	}
	left := uint64(float64(all) * share)
	for us, count := range counts {
		if count > left {
			return (float64(us) + 0.5) * 1000
		}
		left -= count
	}
	return latestUs * 1000
}

// liveWindow returns what one window has shown: lateness, half and 99 percent, and CPU time.
func liveWindow(window time.Duration) [3]float64 {
	for i := range late {
		late[i].Store(0)
	}
	start := time.Now()
	before, _ := processUsage()
	time.Sleep(window)
	after, _ := processUsage()
	seconds := time.Since(start).Seconds()
	counts := make([]uint64, len(late))
	fired := 0.0
	for i := range late {
		counts[i] = uint64(late[i].Load())
		fired += float64(counts[i])
	}
	if share := fired / seconds / liveRate; share < 0.5 || share > 1.5 {
		fail("live: %v of the rate", share)
	}
	return [3]float64{
		lateness(counts, 0.5),
		lateness(counts, 0.99),
		float64(after-before) / seconds,
	}
}

// live has many timers, each re-armed when it has fired. The goroutines end when next they wake.
func live(r *run) {
	count, window := liveTimers, 2*time.Second
	if r.quick {
		count, window = liveTimersQuick, 400*time.Millisecond
	}
	const apart = time.Second / liveRate
	var stopped atomic.Bool
	armed.Store(0)
	first := time.Now().Add(liveLead)
	for i := 0; i < count; i++ {
		go metronome(first.Add(time.Duration(i)*apart), time.Duration(count)*apart, &stopped)
	}
	for armed.Load() < int64(count) {
		time.Sleep(time.Millisecond)
	}
	runtime.GC()
	time.Sleep(liveSettling)
	r.keys = []string{"late_p50_ns", "late_p99_ns", "cpu_ns_per_s"}
	for i := 0; i < r.wanted; i++ {
		figures := liveWindow(window)
		r.values = append(r.values, figures[:])
	}
	stopped.Store(true)
}
