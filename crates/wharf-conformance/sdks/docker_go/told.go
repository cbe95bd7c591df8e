package main

// What a program tells of a daemon: one line for each step, with what is the moment's or the machine's made the same.

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/client"
	"github.com/docker/docker/errdefs"
)

var replaced = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`\b(sha256:)?[0-9a-f]{64}\b`), "<id>"},
	{regexp.MustCompile(`\b(sha256:)?[0-9a-f]{12}\b`), "<id12>"},
	{regexp.MustCompile(`\b(sha256:)?[0-9a-f]{10}\b`), "<id10>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)`), "<time>"},
	{regexp.MustCompile(`\b02:42(:[0-9a-f]{2}){4}\b`), "<mac>"},
	{regexp.MustCompile(`http://%2F[^/]*engine\.sock`), "<socket>"},
	{regexp.MustCompile(`127\.0\.0\.1:5000`), "<registry>"},
	// The name of a runtime is not the same on all.
	{regexp.MustCompile(`runc create failed: `), ""},
}

func plain(value any) string {
	text, isText := value.(string)
	if !isText {
		var written bytes.Buffer
		encoder := json.NewEncoder(&written)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(value); err != nil {
			return err.Error()
		}
		text = strings.TrimSuffix(written.String(), "\n")
	}
	for _, one := range replaced {
		text = one.pattern.ReplaceAllString(text, one.by)
	}
	return text
}

// Runs the function and prints what it gives or is refused, and as which of the kinds of errors that callers tell apart.
func step(name string, run func(context.Context) (any, error)) {
	within, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	value, err := run(within)
	if err != nil {
		fmt.Printf("%s: refused %s %s\n", name, kind(err), plain(err.Error()))
		return
	}
	fmt.Printf("%s: %s\n", name, plain(value))
}

func kind(err error) string {
	for _, one := range []struct {
		name string
		is   func(error) bool
	}{
		{"not found", errdefs.IsNotFound},
		{"conflict", errdefs.IsConflict},
		{"invalid", errdefs.IsInvalidParameter},
		{"unauthorized", errdefs.IsUnauthorized},
		{"unavailable", errdefs.IsUnavailable},
		{"forbidden", errdefs.IsForbidden},
		{"not modified", errdefs.IsNotModified},
		{"not implemented", errdefs.IsNotImplemented},
		{"system", errdefs.IsSystem},
	} {
		if one.is(err) {
			return one.name
		}
	}
	return "otherwise"
}

// done is what a call says that gives nothing but an error.
func done(err error) (any, error) { return "done", err }

// read takes everything out of a body, and closes it.
func read(body io.ReadCloser, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer body.Close()
	all, err := io.ReadAll(body)
	return string(all), err
}

// messages are those of a pull, push, build or load. An error among them is the call's.
func messages(body io.ReadCloser, err error) ([]map[string]any, error) {
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var all []map[string]any
	decoder := json.NewDecoder(body)
	for {
		var one map[string]any
		if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if refused, is := one["error"]; is {
			return nil, fmt.Errorf("told: %v", refused)
		}
		all = append(all, one)
	}
}

// last is the status of the last message.
func last(all []map[string]any, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return all[len(all)-1]["status"], nil
}

// fields are the names of an object's members.
func fields(raw []byte, err error) (any, error) {
	var object map[string]json.RawMessage
	if err == nil {
		err = json.Unmarshal(raw, &object)
	}
	var names []string
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, err
}

//go:embed *.go
var sources embed.FS

// neverCalled are the client's methods that this program does not name.
func neverCalled() []string {
	var text string
	entries, _ := sources.ReadDir(".")
	for _, entry := range entries {
		one, _ := sources.ReadFile(entry.Name())
		text += string(one)
	}
	var missing []string
	methods := reflect.TypeOf((*client.Client)(nil))
	for i := range methods.NumMethod() {
		if name := methods.Method(i).Name; !strings.Contains(text, "docker."+name+"(") {
			missing = append(missing, name)
		}
	}
	return missing
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
