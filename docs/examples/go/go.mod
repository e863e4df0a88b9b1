module longhand.example/stream

go 1.20
