package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Report is the content of --json.
type Report struct {
	Machine  Machine           `json:"machine"`
	Command  string            `json:"command"`
	Config   *Config           `json:"config"`
	Versions map[string]string `json:"versions"` // of the engines
	Acks     map[string]string `json:"acks"`     // what an acked commit has survived
	Lines    []Line            `json:"lines"`
}

func (r *Report) writeJSON(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// scale returns the factor by which the table divides a unit: rates are in
// thousands.
func scale(unit string) float64 {
	if strings.HasSuffix(unit, "/s") {
		return 1e3
	}
	return 1
}

func unitLabel(unit string) string {
	if scale(unit) == 1e3 {
		return "k " + unit
	}
	return unit
}

// figure returns a value of a unit with three significant digits.
func figure(unit string, v float64) string { return digits(v / scale(unit)) }

func digits(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 99.95:
		return thousands(strconv.FormatFloat(v, 'f', 0, 64))
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func thousands(s string) string {
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// ratio returns how a line compares with the base, and how far its rounds
// differ.
func (l *Line) ratio() (ratio, spread string) {
	if l.Ratio == 0 {
		return "", ""
	}
	return fmt.Sprintf("%.2f", l.Ratio), fmt.Sprintf("%.2f-%.2f", l.RatioMin, l.RatioMax)
}

var headings = []string{
	"workload", "gor", "engine", "figure", "unit", "x base", "rounds",
	"allocs/op", "B/op", "CPU us/op", "x base", "I/O/op", "written/op",
	"us/row", "conflicts/k",
}

// cells returns the columns of a line. Figures that a unit does not have are
// "-".
func (l *Line) cells(latency bool) []string {
	m := &l.Median
	ratio, spread := l.ratio()
	unit := unitLabel(l.Unit)
	if l.Less {
		unit += " (less)"
	}
	c := []string{l.Workload, strconv.Itoa(l.Goroutines), l.Engine, figure(l.Unit, m.Value), unit, ratio, spread}
	cpu := ""
	if l.CPURatio > 0 {
		cpu = fmt.Sprintf("%.2f", l.CPURatio)
	}
	if scale(l.Unit) == 1 {
		c = append(c, "-", "-", "-", "-", "-", "-")
	} else {
		c = append(c, digits(m.Allocs), digits(m.AllocBytes), digits(m.CPUMicros), cpu, digits(m.Calls), digits(m.Written))
	}
	for _, v := range []float64{m.RowMicros, m.Conflicts * 1e3} {
		if v == 0 {
			c = append(c, "-")
		} else {
			c = append(c, digits(v))
		}
	}
	if latency {
		c = append(c, "-", "-", "-", "-")
		for i, v := range m.Latency {
			c[len(headings)+i] = digits(v)
		}
	}
	return c
}

func (r *Report) columns() []string {
	if r.Config.Worker.Latency {
		return append(headings[:len(headings):len(headings)], "p50 us", "p99 us", "p99.9 us", "max us")
	}
	return headings
}

// writeTable writes the aligned table: all lines, followed by what each
// engine's ack means.
func (r *Report) writeTable(out io.Writer) error {
	fmt.Fprintf(out, "%s\n%s\n\n", r.Command, r.Machine)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, strings.Join(r.columns(), "\t")+"\t")
	for i := range r.Lines {
		l := &r.Lines[i]
		if i > 0 && (r.Lines[i-1].Workload != l.Workload || r.Lines[i-1].Goroutines != l.Goroutines) {
			fmt.Fprintln(w, strings.Repeat("\t", len(r.columns())))
		}
		fmt.Fprintln(w, strings.Join(l.cells(r.Config.Worker.Latency), "\t")+"\t")
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nAn acked commit (class %s; fillsync: %s):\n", r.Config.Worker.Class, Sync)
	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, e := range r.Config.Engines {
		ack := r.Acks[e]
		if ack == "" {
			ack = "no such class"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", e, r.Versions[e], ack)
	}
	return w.Flush()
}

// writeMarkdown writes, for each number of goroutines, a table of workloads by
// engines (figure and ratio), and a second one with the counts.
func (r *Report) writeMarkdown(out io.Writer) error {
	fmt.Fprintf(out, "`%s`\n\n%s. Class %s. In brackets: times %s, median of the ratios of %d rounds.\n",
		r.Command, r.Machine, r.Config.Worker.Class, r.Config.Base, r.Config.Rounds)
	for _, g := range r.Config.Goroutines {
		fmt.Fprintf(out, "\n%d goroutine(s):\n\n", g)
		r.markdownMatrix(out, g)
	}
	fmt.Fprintf(out, "\nCounts (medians):\n\n| %s |\n|%s\n", strings.Join(r.columns(), " | "), strings.Repeat("---|", len(r.columns())))
	for i := range r.Lines {
		fmt.Fprintf(out, "| %s |\n", strings.Join(r.Lines[i].cells(r.Config.Worker.Latency), " | "))
	}
	fmt.Fprintf(out, "\n| engine | version | an acked commit |\n|---|---|---|\n")
	for _, e := range r.Config.Engines {
		fmt.Fprintf(out, "| %s | %s | %s |\n", e, r.Versions[e], r.Acks[e])
	}
	return nil
}

func (r *Report) markdownMatrix(out io.Writer, g int) {
	fmt.Fprintf(out, "| workload | unit | %s |\n|---|---|%s\n",
		strings.Join(r.Config.Engines, " | "), strings.Repeat("---:|", len(r.Config.Engines)))
	for i := 0; i < len(r.Lines); {
		l := &r.Lines[i]
		cells := map[string]string{}
		j := i
		for ; j < len(r.Lines) && r.Lines[j].Workload == l.Workload && r.Lines[j].Goroutines == l.Goroutines; j++ {
			m := &r.Lines[j]
			cells[m.Engine] = figure(m.Unit, m.Median.Value)
			if ratio, _ := m.ratio(); ratio != "" && m.Engine != r.Config.Base {
				cells[m.Engine] += " (" + ratio + ")"
			}
		}
		if l.Goroutines == g {
			row := make([]string, len(r.Config.Engines))
			for k, e := range r.Config.Engines {
				row[k] = cells[e]
			}
			less := ""
			if l.Less {
				less = ", less is better"
			}
			fmt.Fprintf(out, "| %s | %s%s | %s |\n", l.Workload, unitLabel(l.Unit), less, strings.Join(row, " | "))
		}
		i = j
	}
}
