package main

import (
	"bufio"
	"io"
)

func newRowReader(format string, r io.Reader, o *rowOptions) (rowReader, error) {
	b := bufio.NewReaderSize(r, 1<<20)
	switch format {
	case "tsv":
		return &tsvReader{text: text{r: b, o: o}}, nil
	case "jsonl":
		return &jsonReader{text: text{r: b, o: o, blankCR: true}}, nil
	case "binary":
		return &binaryReader{r: b, o: o}, nil
	}
	return nil, errFormat(format)
}

func newRowWriter(format string, w *bufio.Writer, o *rowOptions) (rowWriter, error) {
	switch format {
	case "tsv":
		return &tsvWriter{w: w, raw: o.raw}, nil
	case "jsonl":
		return &jsonWriter{w: w}, nil
	case "binary":
		return &binaryWriter{w: w}, nil
	}
	return nil, errFormat(format)
}

func errFormat(format string) error {
	return usagef("--format is %q; expected tsv, jsonl or binary", format)
}

const formatHelp = "  tsv     key TAB value; a tab, newline, carriage return or backslash inside is \\t \\n \\r \\\\, and any\n" +
	"          byte may be \\x and two hexadecimal digits; with --raw a backslash is a backslash\n" +
	"  jsonl   {\"key\":\"…\",\"value\":\"…\"} on each line; key64 and value64 hold base64 of bytes that are not text,\n" +
	"          and expires, such as \"2026-05-01T12:00:00.5Z\" or milliseconds since 1970, is when the\n" +
	"          key is gone; anything else is refused\n" +
	"  binary  uvarint length and bytes of key, then of value"
