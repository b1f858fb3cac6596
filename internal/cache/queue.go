package cache

// push puts a frame that is in no queue at the head.
func (c *Cache) push(q *queue, name queueName, f *frame) {
	f.queue, f.prev, f.next = name, 0, q.head
	if q.head != 0 {
		c.frame(q.head).prev = f.id
	} else {
		q.tail = f.id
	}
	q.head = f.id
	q.len++
}

// insert puts a frame that is in no queue before another.
func (c *Cache) insert(q *queue, f, next *frame) {
	f.queue, f.prev, f.next = next.queue, next.prev, next.id
	if next.prev != 0 {
		c.frame(next.prev).next = f.id
	} else {
		q.head = f.id
	}
	next.prev = f.id
	q.len++
}

// unlink takes a frame out of its queue.
func (c *Cache) unlink(q *queue, f *frame) {
	if f.prev != 0 {
		c.frame(f.prev).next = f.next
	} else {
		q.head = f.next
	}
	if f.next != 0 {
		c.frame(f.next).prev = f.prev
	} else {
		q.tail = f.prev
	}
	f.queue, f.prev, f.next = queueNone, 0, 0
	q.len--
}

// queueOf returns the queue that f is in.
func (c *Cache) queueOf(f *frame) *queue {
	cl := &c.classes[f.class]
	switch f.queue {
	case queueFree:
		return &cl.free
	case queueSmall:
		return &cl.small
	case queueMain:
		return &cl.main
	}
	panic("cache: frame in no queue")
}

// Pages of one file are linked as well, so that Drop finds them.

func (c *Cache) linkFile(f *frame) {
	file := f.file.Load()
	first := c.files[file]
	f.filePrev, f.fileNext = 0, first
	if first != 0 {
		c.frame(first).filePrev = f.id
	}
	c.files[file] = f.id
}

func (c *Cache) unlinkFile(f *frame) {
	if f.fileNext != 0 {
		c.frame(f.fileNext).filePrev = f.filePrev
	}
	if f.filePrev != 0 {
		c.frame(f.filePrev).fileNext = f.fileNext
	} else if f.fileNext != 0 {
		c.files[f.file.Load()] = f.fileNext
	} else {
		delete(c.files, f.file.Load())
	}
	f.filePrev, f.fileNext = 0, 0
}
