package model

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

// TestDocLayers: docs/TESTING.md says how many sets of options the models run
// under, and lists each layer and each test once.
func TestDocLayers(t *testing.T) {
	t.Chdir(dbtest.ModuleRoot())
	layers := dbtest.Section(t, "docs/TESTING.md", "## Layers")
	var got []string
	for _, m := range regexp.MustCompile(`(\d+) sets of options`).FindAllStringSubmatch(layers, -1) {
		got = append(got, m[1])
	}
	if want := []string{strconv.Itoa(len(configs())), strconv.Itoa(len(wideConfigs()))}; !slices.Equal(got, want) {
		t.Errorf("docs/TESTING.md says that the models run under %v sets of options; it is %v", got, want)
	}
	b, err := os.ReadFile("docs/TESTING.md")
	dbtest.Must(t, err)
	rows := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		first, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		if !ok || !strings.HasPrefix(line, "| ") || first == "layer" || first == "test" {
			continue
		}
		if rows[first] {
			t.Errorf("docs/TESTING.md has two rows %q", first)
		}
		rows[first] = true
	}
}
