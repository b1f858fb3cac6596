package callback

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/observe"
)

// TestListener: for every event of an observe.EventListener there is a method of its
// name, which has the function of that event called with what it is given, in order. What
// the program has no function for is passed over.
func TestListener(t *testing.T) {
	var got []string
	var args []any
	var events observe.EventListener
	fields := reflect.ValueOf(&events).Elem()
	for i := range fields.NumField() {
		name := fields.Type().Field(i).Name
		fields.Field(i).Set(reflect.MakeFunc(fields.Field(i).Type(), func(in []reflect.Value) []reflect.Value {
			got = append(got, name)
			for _, v := range in {
				args = append(args, v.Interface())
			}
			return nil
		}))
	}
	o := NewOutbox(nil, func(p *base.PanicError) { t.Error(p) })
	all, none := NewListener(events, o), NewListener(observe.EventListener{}, o)
	var want []string
	var given []any
	release := held(o)
	for i := range fields.NumField() {
		name := fields.Type().Field(i).Name
		if name == "EventsLost" {
			continue // by the outbox itself
		}
		method := reflect.ValueOf(&all).MethodByName(name)
		if !method.IsValid() {
			t.Errorf("no method for %s", name)
			continue
		}
		in := make([]reflect.Value, method.Type().NumIn())
		for k := range in {
			in[k] = reflect.ValueOf(argument(method.Type().In(k), i))
			given = append(given, in[k].Interface())
		}
		method.Call(in)
		reflect.ValueOf(&none).MethodByName(name).Call(in)
		want = append(want, name)
	}
	if len(got) > 0 {
		t.Errorf("%q were called by the goroutine that adds them", got)
	}
	if len(o.waiting) != len(want) {
		t.Errorf("%d entries for %d events that are wanted", len(o.waiting), len(want))
	}
	release()
	o.Drain()
	if !slices.Equal(got, want) || !reflect.DeepEqual(args, given) {
		t.Errorf("called %q with %v, want %q with %v", got, args, want, given)
	}
}

// argument is a value of a type that differs by i.
func argument(t reflect.Type, i int) any {
	switch t {
	case reflect.TypeFor[string]():
		return "reason " + string(rune('a'+i))
	case reflect.TypeFor[time.Duration]():
		return time.Duration(i + 1)
	case reflect.TypeFor[error]():
		return errors.New("job " + string(rune('a'+i)))
	}
	v := reflect.New(t).Elem()
	for k := range v.NumField() {
		if f := v.Field(k); f.CanInt() {
			f.SetInt(int64(i + k + 1))
		}
	}
	return v.Interface()
}

// TestListenerPanics: a panic of an event is the listener's. Panics of other code are
// reported to BackgroundError, the listener's own are not.
func TestListenerPanics(t *testing.T) {
	var panics []*base.PanicError
	var told []error
	o := NewOutbox(nil, func(p *base.PanicError) { panics = append(panics, p) })
	l := NewListener(observe.EventListener{
		FlushBegin:      func(observe.FlushEvent) { panic("flush") },
		StallEnd:        func(string, time.Duration) { panic("stall") },
		BackgroundError: func(err error) { told = append(told, err); panic("background") },
	}, o)
	l.FlushBegin(observe.FlushEvent{})
	l.StallEnd("reason", 1)
	o.Drain()
	if len(panics) != 2 || panics[0].Code != ListenerCode || panics[1].Code != ListenerCode {
		t.Errorf("reported %v", panics)
	}
	for _, c := range []struct {
		code          string
		final         bool
		told, reports int
	}{
		{"the filter of a keyspace", false, 1, 1}, {"the filter of a keyspace", true, 1, 0},
		{LoggerCode, true, 1, 0}, {ListenerCode, false, 0, 0}, {ListenerCode, true, 0, 0},
	} {
		panics, told = nil, nil
		p := &base.PanicError{Code: c.code}
		l.Panicked(p, c.final)
		o.Drain()
		if len(told) != c.told || len(panics) != c.reports || c.told == 1 && told[0] != error(p) {
			t.Errorf("%s, final %v: %v; and panics %v", c.code, c.final, told, panics)
		}
	}
	panics = nil
	none := NewListener(observe.EventListener{}, o)
	none.Panicked(&base.PanicError{Code: LoggerCode}, false)
	if o.Drain(); len(panics) > 0 {
		t.Errorf("without a function for it: %v", panics)
	}
}
