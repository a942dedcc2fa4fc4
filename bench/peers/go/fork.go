package main

import "sync"

const (
	skynetLeaves = 1_000_000
	skynetTasks  = 1_111_111
)

// skynetTask is a goroutine for so many leaves, the first of which has this number.
func skynetTask(number, size int, result *int, parent *sync.WaitGroup) {
	defer parent.Done()
	if size == 1 {
		*result = number
		return
	}
	size /= 10
	var sums [10]int
	var children sync.WaitGroup
	children.Add(len(sums))
	for i := range sums {
		go skynetTask(number+i*size, size, &sums[i], &children)
	}
	children.Wait()
	for _, sum := range sums {
		*result += sum
	}
}

func skynet(r *run) {
	r.measure(func() {
		var sum int
		var root sync.WaitGroup
		root.Add(1)
		go skynetTask(0, skynetLeaves, &sum, &root)
		root.Wait()
		check("skynet", sum, 499_999_500_000)
	})
}

const fibTasks = 57_313

func fibTask(n int, result *int, parent *sync.WaitGroup) {
	defer parent.Done()
	if n < 2 {
		*result = n
		return
	}
	var a, b int
	var children sync.WaitGroup
	children.Add(2)
	go fibTask(n-1, &a, &children)
	go fibTask(n-2, &b, &children)
	children.Wait()
	*result = a + b
}

func fib(r *run) {
	r.measure(func() {
		var value int
		var root sync.WaitGroup
		root.Add(1)
		go fibTask(22, &value, &root)
		root.Wait()
		check("fib", value, 17_711)
	})
}

const (
	queens       = 8
	nqueensTasks = 2057
)

// queensTask counts the ways to go on from the rows that are filled; a bit is set for each column
// and diagonal that is taken.
func queensTask(row int, columns, left, right uint32, result *int, parent *sync.WaitGroup) {
	defer parent.Done()
	if row == queens {
		*result = 1
		return
	}
	var ways [queens]int
	var children sync.WaitGroup
	for column := range ways {
		bit := uint32(1) << column
		if (columns|left|right)&bit == 0 {
			children.Add(1)
			go queensTask(row+1, columns|bit, (left|bit)<<1, (right|bit)>>1, &ways[column], &children)
		}
	}
	children.Wait()
	for _, n := range ways {
		*result += n
	}
}

func nqueens(r *run) {
	r.measure(func() {
		var ways int
		var root sync.WaitGroup
		root.Add(1)
		go queensTask(0, 0, 0, 0, &ways, &root)
		root.Wait()
		check("nqueens", ways, 92)
	})
}
