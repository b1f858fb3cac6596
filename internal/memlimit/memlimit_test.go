package memlimit

import (
	"runtime/debug"
	"testing"
	"testing/fstest"
)

const (
	mount1 = "33 32 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" +
		"34 32 0:30 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n"
	mount2 = "31 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	none1  = "9223372036854771712\n"
)

// TestGroups reads what systems of several kinds show.
func TestGroups(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		want  int64
		files map[string]string
	}{
		"nothing there": {0, nil},
		"version 2, of its own": {96 * mib, map[string]string{
			"proc/self/cgroup": "0::/app.slice/db\n", "proc/self/mountinfo": mount2,
			"sys/fs/cgroup/app.slice/db/memory.max": "100663296\n",
		}},
		"version 2, of a group above": {64 * mib, map[string]string{
			"proc/self/cgroup": "0::/app.slice/db/deep\n", "proc/self/mountinfo": mount2,
			"sys/fs/cgroup/app.slice/memory.max":         "67108864\n",
			"sys/fs/cgroup/app.slice/db/memory.max":      "100663296\n",
			"sys/fs/cgroup/app.slice/db/deep/memory.max": "max\n",
		}},
		"version 2, none": {0, map[string]string{
			"proc/self/cgroup": "0::/app\n", "proc/self/mountinfo": mount2, "sys/fs/cgroup/app/memory.max": "max\n",
		}},
		"version 2, high": {32 * mib, map[string]string{
			"proc/self/cgroup": "0::/app\n", "proc/self/mountinfo": mount2,
			"sys/fs/cgroup/app/memory.max": "max\n", "sys/fs/cgroup/app/memory.high": "33554432\n",
		}},
		"version 2, in a container with a namespace": {48 * mib, map[string]string{
			"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mount2, "sys/fs/cgroup/memory.max": "50331648\n",
		}},
		"version 1, of a group above": {64 * mib, map[string]string{
			"proc/self/cgroup": "12:cpu,cpuacct:/x\n5:memory:/docker/abc/in\n0::/\n", "proc/self/mountinfo": mount1,
			"sys/fs/cgroup/memory/memory.limit_in_bytes":               none1,
			"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes":    "67108864\n",
			"sys/fs/cgroup/memory/docker/abc/in/memory.limit_in_bytes": none1,
			"sys/fs/cgroup/cpu/x/memory.limit_in_bytes":                "1\n",
		}},
		"version 1, none": {0, map[string]string{
			"proc/self/cgroup": "5:memory:/\n", "proc/self/mountinfo": mount1,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": none1,
		}},
		"version 1, in a container without a namespace": {16 * mib, map[string]string{
			"proc/self/cgroup":                              "5:memory:/docker/abc/in\n",
			"proc/self/mountinfo":                           "34 32 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
			"sys/fs/cgroup/memory/in/memory.limit_in_bytes": "16777216\n",
		}},
		"a group outside of what is mounted": {16 * mib, map[string]string{
			"proc/self/cgroup":                       "5:memory:/../other\n",
			"proc/self/mountinfo":                    "34 32 0:30 /docker/abc /sys/fs/my\\040groups ro - cgroup cgroup rw,memory\n",
			"sys/fs/my groups/memory.limit_in_bytes": "16777216\n",
		}},
		"both versions": {24 * mib, map[string]string{
			"proc/self/cgroup": "5:memory:/a\n0::/b\n", "proc/self/mountinfo": mount1 + "35 32 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "25165824\n",
		}},
		"nonsense": {0, map[string]string{
			"proc/self/cgroup": "memory\n::\n0::/a\n", "proc/self/mountinfo": " - \nx - y\n" + mount2,
			"sys/fs/cgroup/a/memory.max": "-5\n", "sys/fs/cgroup/memory.max": "lots\n",
		}},
	} {
		root := fstest.MapFS{}
		for file, text := range c.files {
			root[file] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := groups(root); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestGoLimit: the limit of the garbage collector counts too.
func TestGoLimit(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(8 << 20))
	if n := Limit(); n <= 0 || n > 8<<20 {
		t.Errorf("with GOMEMLIMIT at 8 MiB: %d", n)
	}
}
