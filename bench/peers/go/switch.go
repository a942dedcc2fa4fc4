package main

import (
	"runtime"
	"sync"
	"sync/atomic"
)

const (
	yieldingTasks = 200
	yields        = 1000
)

func yieldMany(r *run) {
	done := make(chan struct{}, yieldingTasks)
	r.measure(func() {
		for i := 0; i < yieldingTasks; i++ {
			go func() {
				for n := 0; n < yields; n++ {
					runtime.Gosched()
				}
				done <- struct{}{}
			}()
		}
		for i := 0; i < yieldingTasks; i++ {
			<-done
		}
	})
}

// Pairs of goroutines that send each other one message each way; a channel with room for one
// message is what a oneshot is elsewhere.
func pingPong(r *run) {
	done := make(chan struct{}, 1000)
	var left atomic.Int64
	r.measure(func() {
		left.Store(int64(r.operations))
		go func() {
			for i := 0; i < r.operations; i++ {
				go func() {
					ping := make(chan struct{}, 1)
					pong := make(chan struct{}, 1)
					go func() {
						<-ping
						pong <- struct{}{}
					}()
					ping <- struct{}{}
					<-pong
					if left.Add(-1) == 0 {
						done <- struct{}{}
					}
				}()
			}
		}()
		<-done
	})
	check("exchanges left", left.Load(), 0)
}

const (
	ringTasks = 300
	ringLaps  = 300
)

// A token goes round; it counts its hops. At the end it lies before the first goroutine again.
func ring(r *run) {
	var channels [ringTasks]chan int
	for i := range channels {
		channels[i] = make(chan int, 1)
	}
	done := make(chan struct{}, 1)
	r.measure(func() {
		var all sync.WaitGroup
		all.Add(ringTasks)
		channels[0] <- 0
		for i := range channels {
			go func(receiver <-chan int, sender chan<- int, last bool) {
				for lap := 0; lap < ringLaps; lap++ {
					sender <- <-receiver + 1
				}
				if last {
					done <- struct{}{}
				}
				all.Done()
			}(channels[i], channels[(i+1)%ringTasks], i == ringTasks-1)
		}
		<-done
		all.Wait()
		check("ring", <-channels[0], ringTasks*ringLaps)
	})
}
