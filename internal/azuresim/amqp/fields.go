package amqp

import "fmt"

// fields reads the fields of a performative. The first wrong type is kept as err.
type fields struct {
	List
	err error
}

// at returns field i, nil when it is null or left out.
func (f *fields) at(i int) any {
	if i < len(f.List) {
		return f.List[i]
	}
	return nil
}

func (f *fields) wrong(i int, want string) {
	if f.err == nil {
		f.err = fmt.Errorf("field %d is %T, want %s", i, f.at(i), want)
	}
}

func (f *fields) text(i int) string {
	switch v := f.at(i).(type) {
	case nil:
	case string:
		return v
	case Symbol:
		return string(v)
	default:
		f.wrong(i, "string or symbol")
	}
	return ""
}

func (f *fields) binary(i int) []byte { return optionalField[[]byte](f, i) }

func (f *fields) uint(i int, null uint32) uint32 { return defaultField(f, i, null) }

// defaultField returns field i, or null where it is null.
func defaultField[T any](f *fields, i int, null T) T {
	switch v := f.at(i).(type) {
	case nil:
	case T:
		return v
	default:
		f.wrong(i, fmt.Sprintf("%T", null))
	}
	return null
}

func optionalField[T any](f *fields, i int) T {
	var zero T
	return defaultField(f, i, zero)
}

func pointerField[T any](f *fields, i int) *T {
	if f.at(i) == nil {
		return nil
	}
	v := optionalField[T](f, i)
	return &v
}

// nullableField returns field i as it is, when it is null or a T.
func nullableField[T any](f *fields, i int) any {
	if f.at(i) == nil {
		return nil
	}
	return optionalField[T](f, i)
}

func optional[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

func optionalText(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func optionalMap(m Map) any {
	if len(m) == 0 {
		return nil
	}
	return m
}
