module skua/bench/peers/go

go 1.22
