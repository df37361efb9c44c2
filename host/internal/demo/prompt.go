package demo

import (
	"strconv"
	"strings"
)

// source is a text that an answer may quote, under the number that it is cited by.
type source struct {
	number     int
	title, url string
	text       string
}

// maxSources bounds how many sources of a prompt are read; the rest counts as text of the last.
const maxSources = 50

// readPrompt finds the question that a conversation asks and the sources it gives: lines "[1] title - url" with text
// after them, in any message but the model's own. The sources of the last message that has some count.
func readPrompt(messages []message) (question string, sources []source) {
	last := ""
	for _, m := range messages {
		if m.role == "user" && strings.TrimSpace(m.text) != "" {
			last = m.text
		}
	}
	question = last
	for _, m := range messages {
		if m.role == "assistant" {
			continue // an earlier answer's list of sources is no source
		}
		before, found := readSources(m.text)
		if len(found) == 0 {
			continue
		}
		sources = found
		if m.text == last {
			question = questionIn(m.text, before)
		}
	}
	return question, sources
}

// readSources splits a text into what comes before its first source and the sources. A source without text is none.
func readSources(text string) (before string, sources []source) {
	var head, body []string
	var all []source
	flush := func() {
		if len(all) > 0 {
			all[len(all)-1].text = strings.TrimSpace(strings.Join(body, "\n"))
		}
		body = nil
	}
	reading := false
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if src, ok := sourceLine(line, len(all)+1); ok && len(all) < maxSources {
			flush()
			all = append(all, src)
			reading = true
			continue
		}
		_, labelled := questionLine(line)
		switch {
		case labelled:
			reading = false // the question may stand after the sources
		case reading:
			body = append(body, describe(&all[len(all)-1], line))
		case len(all) == 0:
			head = append(head, line)
		}
	}
	flush()
	for _, s := range all {
		if s.text != "" {
			sources = append(sources, s)
		}
	}
	return strings.Join(head, "\n"), sources
}

// sourceLine reads "[n] title - url". It takes only the number that is due: a page's own "[7]" is text.
func sourceLine(line string, due int) (source, bool) {
	rest, ok := strings.CutPrefix(line, "["+strconv.Itoa(due)+"]")
	if !ok || strings.TrimSpace(rest) == "" {
		return source{}, false
	}
	src := source{number: due}
	src.title, src.url = titleAndURL(rest)
	return src, true
}

// titleAndURL splits "title - url", in whichever of the usual ways it is written. Without an address all is title.
func titleAndURL(text string) (title, url string) {
	at := strings.Index(text, "https://")
	if at < 0 {
		at = strings.Index(text, "http://")
	}
	if at < 0 {
		return strings.TrimSpace(text), ""
	}
	url, _, _ = strings.Cut(text[at:], " ")
	url = strings.TrimRight(url, ")>]")
	return strings.Trim(text[:at], " -–—|:(<[]"), url
}

// describe takes a line after a source's first, "URL: …" or "Title: …", into the source and returns the line's text.
func describe(src *source, line string) string {
	label, value, ok := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	switch {
	case !ok:
		return line
	case strings.EqualFold(label, "url") && src.url == "":
		_, src.url = titleAndURL(value)
		return ""
	case strings.EqualFold(label, "title"):
		src.title = value
		return ""
	case strings.EqualFold(label, "content"), strings.EqualFold(label, "text"):
		return value
	}
	return line
}

// questionLine reads a line such as "Question: why?" and returns what follows the label.
func questionLine(line string) (string, bool) {
	label, value, ok := strings.Cut(strings.TrimSpace(line), ":")
	if !ok {
		return "", false
	}
	label = strings.ToLower(strings.Trim(label, "*# "))
	if !oneOf(label, "question", "query", "user question", "user query", "search query", "the question") {
		return "", false
	}
	return strings.Trim(value, ` *"“”`), true
}

// questionIn finds the question in a message that holds sources too: after a label; else in quotation marks before
// the sources; else all that stands before them.
func questionIn(text, before string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		value, ok := questionLine(line)
		if ok && value == "" && i+1 < len(lines) {
			value = strings.TrimSpace(lines[i+1])
		}
		if ok && value != "" {
			return value
		}
	}
	for _, marks := range [][2]string{{`"`, `"`}, {"“", "”"}} {
		if _, rest, ok := strings.Cut(before, marks[0]); ok {
			if quoted, _, ok := strings.Cut(rest, marks[1]); ok && strings.TrimSpace(quoted) != "" {
				return quoted
			}
		}
	}
	return before
}
