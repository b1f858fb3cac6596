package main

import (
	"cmp"
	"slices"
)

// Line is one line of the table: an engine on a workload, over all rounds.
type Line struct {
	Workload   string `json:"workload"`
	Doc        string `json:"doc"`
	Unit       string `json:"unit"`
	Less       bool   `json:"less_is_better,omitempty"`
	Class      Class  `json:"class"`
	Goroutines int    `json:"goroutines"`
	Engine     string `json:"engine"`

	Median Sample `json:"median"` // of each figure separately
	// Ratio, RatioMin and RatioMax are the engine's value divided by the base
	// engine's of the same round: median, least and most over the rounds; 0
	// without a base.
	Ratio    float64 `json:"ratio,omitempty"`
	RatioMin float64 `json:"ratio_min,omitempty"`
	RatioMax float64 `json:"ratio_max,omitempty"`
	// CPURatio is the same for processor time per operation: on a busy machine
	// it is more reliable than the clock.
	CPURatio float64  `json:"cpu_ratio,omitempty"`
	Rounds   []Sample `json:"rounds"`
}

// summarise returns the lines, in the order of stages, goroutines and engines.
func summarise(c *Config, res results) (lines []Line) {
	for i := range stages {
		for j := range stages[i].Steps {
			for _, g := range c.Goroutines {
				for _, engine := range c.Engines {
					st, step := &stages[i], &stages[i].Steps[j]
					samples := res[resultKey{step.Name, engine, g}]
					if len(samples) == 0 {
						continue
					}
					l := Line{
						Workload: step.Name, Doc: step.Doc, Unit: step.Unit, Less: step.Less,
						Class: c.class(st), Goroutines: g, Engine: engine,
						Median: medianSample(samples), Rounds: samples,
					}
					base := res[resultKey{step.Name, c.Base, g}]
					if other := res[resultKey{step.Against, c.Base, g}]; len(other) > 0 {
						base = other
					}
					l.compare(base)
					lines = append(lines, l)
				}
			}
		}
	}
	return lines
}

func (l *Line) compare(base []Sample) {
	value := l.ratios(base, func(s *Sample) float64 { return s.Value })
	if len(value) > 0 {
		l.Ratio, l.RatioMin, l.RatioMax = median(value), slices.Min(value), slices.Max(value)
	}
	if cpu := l.ratios(base, func(s *Sample) float64 { return s.CPUMicros }); len(cpu) > 0 && scale(l.Unit) > 1 {
		l.CPURatio = median(cpu)
	}
}

// ratios returns the ratios of a figure, round by round.
func (l *Line) ratios(base []Sample, of func(*Sample) float64) (r []float64) {
	for i := range min(len(base), len(l.Rounds)) {
		if b := of(&base[i]); b > 0 {
			r = append(r, of(&l.Rounds[i])/b)
		}
	}
	return r
}

// median returns the median. For an even number of values it is the mean of the
// middle two.
func median[T cmp.Ordered](v []T) float64 {
	s := slices.Sorted(slices.Values(v))
	f := func(x T) float64 {
		switch x := any(x).(type) {
		case float64:
			return x
		case int64:
			return float64(x)
		}
		panic("median of a type that is not used here")
	}
	if n := len(s); n%2 == 0 {
		return (f(s[n/2-1]) + f(s[n/2])) / 2
	}
	return f(s[len(s)/2])
}

func medianSample(all []Sample) Sample {
	of := func(get func(*Sample) float64) float64 {
		v := make([]float64, len(all))
		for i := range all {
			v[i] = get(&all[i])
		}
		return median(v)
	}
	m := Sample{
		Value:      of(func(s *Sample) float64 { return s.Value }),
		Ops:        int64(of(func(s *Sample) float64 { return float64(s.Ops) })),
		Seconds:    of(func(s *Sample) float64 { return s.Seconds }),
		Allocs:     of(func(s *Sample) float64 { return s.Allocs }),
		AllocBytes: of(func(s *Sample) float64 { return s.AllocBytes }),
		CPUMicros:  of(func(s *Sample) float64 { return s.CPUMicros }),
		Calls:      of(func(s *Sample) float64 { return s.Calls }),
		Written:    of(func(s *Sample) float64 { return s.Written }),
		WriterOps:  of(func(s *Sample) float64 { return s.WriterOps }),
		RowMicros:  of(func(s *Sample) float64 { return s.RowMicros }),
		Conflicts:  of(func(s *Sample) float64 { return s.Conflicts }),
	}
	if n := len(all[0].Latency); n > 0 {
		m.Latency = make([]float64, n)
		for i := range m.Latency {
			m.Latency[i] = of(func(s *Sample) float64 { return s.Latency[i] })
		}
	}
	return m
}
