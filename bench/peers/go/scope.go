package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	scopeTasks     = 1_000_000
	scopeResults   = 100_000
	nestedScopes   = 1000
	nestedTasks    = 10
	cancelledTasks = 10_000
	selects        = 10_000
)

// scopeJoin has many goroutines without results.
func scopeJoin(r *run) {
	r.measure(func() {
		var tasks sync.WaitGroup
		for i := 0; i < scopeTasks; i++ {
			tasks.Add(1)
			go tasks.Done()
		}
		tasks.Wait()
	})
}

// scopeResultsOneByOne takes the results as they come.
func scopeResultsOneByOne(r *run) {
	r.measure(func() {
		results := make(chan int, scopeResults)
		for i := 0; i < scopeResults; i++ {
			go func() { results <- i }()
		}
		sum := 0
		for i := 0; i < scopeResults; i++ {
			sum += <-results
		}
		check("results", sum, scopeResults*(scopeResults-1)/2)
	})
}

// nestedScope spawns its tasks, and sends the sum of what they say.
func nestedScope(number int, sum chan<- int) {
	results := make(chan int, nestedTasks)
	for j := 0; j < nestedTasks; j++ {
		go func() { results <- number*nestedTasks + j }()
	}
	mine := 0
	for j := 0; j < nestedTasks; j++ {
		mine += <-results
	}
	sum <- mine
}

// scopeNested is a scope of goroutines each of which has a scope of its own.
func scopeNested(r *run) {
	r.measure(func() {
		sums := make(chan int, nestedScopes)
		for i := 0; i < nestedScopes; i++ {
			go nestedScope(i, sums)
		}
		sum := 0
		for i := 0; i < nestedScopes; i++ {
			sum += <-sums
		}
		const leaves = nestedScopes * nestedTasks
		check("nested", sum, leaves*(leaves-1)/2)
	})
}

// scopeCancel cancels goroutines that wait, and joins them: only that is timed.
func scopeCancel(r *run) {
	r.measurePart(func() time.Duration {
		ctx, cancel := context.WithCancel(context.Background())
		var parked, cancelled atomic.Int64
		var tasks sync.WaitGroup
		tasks.Add(cancelledTasks)
		for i := 0; i < cancelledTasks; i++ {
			go func() {
				defer tasks.Done()
				parked.Add(1)
				<-ctx.Done()
				cancelled.Add(1)
			}()
		}
		for parked.Load() < cancelledTasks {
			time.Sleep(time.Millisecond)
		}
		start := time.Now()
		cancel()
		tasks.Wait()
		spent := time.Since(start)
		check("cancelled", cancelled.Load(), cancelledTasks)
		return spent
	})
}

// selectOver selects over so many channels, each time with another one into which a partner sends.
func selectOver(r *run, branches int, one func([]chan int) int) {
	requests, boxes := make(chan int), make([]chan int, branches)
	for i := range boxes {
		boxes[i] = make(chan int)
	}
	defer close(requests)
	go func() {
		for winner := range requests {
			boxes[winner] <- winner
		}
	}()
	r.measure(func() {
		sum, expected := 0, 0
		for i := 0; i < selects; i++ {
			winner := (i*7 + 3) % branches
			requests <- winner
			sum += one(boxes)
			expected += winner
		}
		check("select", sum, expected)
	})
}

// A statement of its own for each number of branches: reflect.Select would be slower.

func select2(boxes []chan int) (value int) {
	select {
	case value = <-boxes[0]:
	case value = <-boxes[1]:
	}
	return value
}

func select8(boxes []chan int) (value int) {
	select {
	case value = <-boxes[0]:
	case value = <-boxes[1]:
	case value = <-boxes[2]:
	case value = <-boxes[3]:
	case value = <-boxes[4]:
	case value = <-boxes[5]:
	case value = <-boxes[6]:
	case value = <-boxes[7]:
	}
	return value
}

func select64(boxes []chan int) (value int) {
	select {
	case value = <-boxes[0]:
	case value = <-boxes[1]:
	case value = <-boxes[2]:
	case value = <-boxes[3]:
	case value = <-boxes[4]:
	case value = <-boxes[5]:
	case value = <-boxes[6]:
	case value = <-boxes[7]:
	case value = <-boxes[8]:
	case value = <-boxes[9]:
	case value = <-boxes[10]:
	case value = <-boxes[11]:
	case value = <-boxes[12]:
	case value = <-boxes[13]:
	case value = <-boxes[14]:
	case value = <-boxes[15]:
	case value = <-boxes[16]:
	case value = <-boxes[17]:
	case value = <-boxes[18]:
	case value = <-boxes[19]:
	case value = <-boxes[20]:
	case value = <-boxes[21]:
	case value = <-boxes[22]:
	case value = <-boxes[23]:
	case value = <-boxes[24]:
	case value = <-boxes[25]:
	case value = <-boxes[26]:
	case value = <-boxes[27]:
	case value = <-boxes[28]:
	case value = <-boxes[29]:
	case value = <-boxes[30]:
	case value = <-boxes[31]:
	case value = <-boxes[32]:
	case value = <-boxes[33]:
	case value = <-boxes[34]:
	case value = <-boxes[35]:
	case value = <-boxes[36]:
	case value = <-boxes[37]:
	case value = <-boxes[38]:
	case value = <-boxes[39]:
	case value = <-boxes[40]:
	case value = <-boxes[41]:
	case value = <-boxes[42]:
	case value = <-boxes[43]:
	case value = <-boxes[44]:
	case value = <-boxes[45]:
	case value = <-boxes[46]:
	case value = <-boxes[47]:
	case value = <-boxes[48]:
	case value = <-boxes[49]:
	case value = <-boxes[50]:
	case value = <-boxes[51]:
	case value = <-boxes[52]:
	case value = <-boxes[53]:
	case value = <-boxes[54]:
	case value = <-boxes[55]:
	case value = <-boxes[56]:
	case value = <-boxes[57]:
	case value = <-boxes[58]:
	case value = <-boxes[59]:
	case value = <-boxes[60]:
	case value = <-boxes[61]:
	case value = <-boxes[62]:
	case value = <-boxes[63]:
	}
	return value
}
