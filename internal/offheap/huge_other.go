//go:build unix && !linux && !solaris && !aix

package offheap

func adviseHuge([]byte) {}
