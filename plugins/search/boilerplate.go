package main

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// keeper collects the lines of a page that say something. It judges line by line: a good page with an ordinary footer
// loses the footer and nothing else.
type keeper struct {
	text  strings.Builder
	count int // characters in text
	seen  map[string]bool
	menu  []string // lines that are nothing but a short link; many in a row are a menu
}

const (
	menuLines   = 4   // so many short links in a row are a menu
	menuLength  = 40  // characters of such a link
	bannerLimit = 300 // characters; a longer line is a text that also has such words
)

// consider keeps a line unless it is boilerplate. The marks of links are still in it.
func (k *keeper) consider(line string) {
	links := onlyLinks(line)
	line = squeeze(stripLine(unmarked(line)))
	switch {
	case !hasWords(line), isBoilerplate(line), isDefinition(line):
		// An empty line or a rule ends no menu.
	case links && utf8.RuneCountInString(line) <= menuLength && !strings.ContainsFunc(line, unicode.IsDigit):
		k.menu = append(k.menu, line)
	default:
		k.endMenu()
		k.keep(line)
	}
}

// endMenu keeps the links that waited, unless they were a menu.
func (k *keeper) endMenu() {
	if len(k.menu) < menuLines {
		for _, line := range k.menu {
			k.keep(line)
		}
	}
	k.menu = k.menu[:0]
}

// keep takes a line. A line of some length that was there before is a repeated part of the page's frame.
func (k *keeper) keep(line string) {
	if line == "" {
		return
	}
	if len(line) > 20 {
		before := len(k.seen)
		if k.seen[line] = true; len(k.seen) == before { // one look into the map, not two
			return
		}
	}
	if k.count > 0 {
		k.text.WriteByte('\n')
		k.count++
	}
	k.text.WriteString(line)
	k.count += length(line)
}

// onlyLinks reports whether a line holds a link, and nothing outside its links but bullets and separators.
func onlyLinks(line string) bool {
	depth, links := 0, 0
	for _, r := range line {
		switch {
		case r == linkBegin:
			depth++
			links++
		case r == linkEnd:
			depth = max(0, depth-1)
		case depth == 0 && (unicode.IsLetter(r) || unicode.IsNumber(r)):
			return false
		}
	}
	return links > 0
}

// unmarked is line without the marks of links and the space around it.
func unmarked(line string) string {
	if strings.IndexByte(line, linkBegin) >= 0 || strings.IndexByte(line, linkEnd) >= 0 {
		b := make([]byte, 0, len(line))
		for i := 0; i < len(line); i++ {
			if c := line[i]; c != linkBegin && c != linkEnd {
				b = append(b, c)
			}
		}
		line = string(b)
	}
	return strings.TrimSpace(line)
}

func hasWords(line string) bool {
	return strings.ContainsFunc(line, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })
}

// isDefinition reports whether a line gives the address of a reference, "[1]: https://…".
func isDefinition(line string) bool {
	if !strings.HasPrefix(line, "[") {
		return false
	}
	_, address, ok := strings.Cut(line, "]: ")
	return ok && (strings.HasPrefix(address, "http://") || strings.HasPrefix(address, "https://")) && !strings.Contains(address, " ")
}

// isBoilerplate reports whether a line belongs to a page's frame and not to what it says.
func isBoilerplate(line string) bool {
	inner := bare(line)
	if isFrame(inner) || isBar(line) {
		return true
	}
	return !longer(line, bannerLimit) && (isNotice(inner) || isBanner(line))
}

// isNotice reports whether text begins as a link for screen readers or a copyright notice does.
func isNotice(text string) bool {
	for _, words := range []string{"skip to ", "jump to content", "©", "copyright ©", "copyright (c)", "c) 20"} {
		if hasPrefixFold(text, words) {
			return true
		}
	}
	return false
}

// hasPrefixFold reports whether text begins with prefix, in any case.
func hasPrefixFold(text, prefix string) bool {
	return len(text) >= len(prefix) && strings.EqualFold(text[:len(prefix)], prefix)
}

// isBanner reports whether a line asks for something before a page shows itself.
func isBanner(line string) bool {
	if !hasBannerWord(line) {
		return false
	}
	lower := strings.ToLower(line)
	for _, words := range []string{
		"all rights reserved", "we use cookies", "this site uses cookies", "this website uses cookies", "uses cookies to",
		"accept all cookies", "accept cookies", "cookie settings", "cookie preferences", "by continuing to use this", "by continuing to browse",
		"enable javascript", "javascript is disabled", "javascript to run this app", "your browser does not support", "your browser is not supported",
		"subscribe to our newsletter", "sign up for our newsletter", "sign up to our newsletter", "join our newsletter",
		"verify you are human", "verifying you are human", "checking your browser",
	} {
		if strings.Contains(lower, words) {
			return true
		}
	}
	return false
}

// hasBannerWord reports whether a line has one of the words that isBanner's phrases are made of, each of which has one.
// It is one look at each byte in the place of many.
func hasBannerWord(line string) bool {
	for i := 0; i+1 < len(line); i++ {
		word := ""
		switch line[i] | 0x20 { // in lower case
		case 'k':
			word = "kie" // cookie
		case 'j':
			word = "javascript"
		case 'b':
			word = "browse"
		case 'v':
			word = "ved" // reserved
		case 'w':
			word = "wsletter" // newsletter
		case 'm':
			word = "man" // human
		case 'g':
			word = "g to " // continuing to
		default:
			continue
		}
		if line[i+1]|0x20 == word[1]|0x20 && hasPrefixFold(line[i:], word) {
			return true
		}
	}
	return false
}

// isBar reports whether a line is a bar of links, "Home | About | Contact": most of its parts are words of a page's frame.
func isBar(line string) bool {
	separators := []string{"|", "/", "•", "·", "»", "›"}
	if !slices.ContainsFunc(separators, func(s string) bool { return strings.Contains(line, s) }) {
		return false
	}
	parts := strings.FieldsFunc(line, func(r rune) bool { return r == '|' || r == '/' || r == '•' || r == '·' || r == '»' || r == '›' })
	if len(parts) < 2 {
		return false
	}
	frame := 0
	for _, p := range parts {
		if isFrame(bare(p)) {
			frame++
		}
	}
	return frame*2 > len(parts)
}

// bare is text without marks around it.
func bare(text string) string {
	return strings.TrimFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) && r != '©' })
}

// isFrame reports whether text is nothing but a word of a page's frame.
func isFrame(text string) bool {
	const longest = 48 // bytes; no phrase has as many
	return len(text) <= longest && framePhrase(strings.ToLower(text))
}

// framePhrase reports whether text, in lower case, is nothing but a word of a page's frame.
func framePhrase(text string) bool {
	switch text {
	case "home", "menu", "main menu", "search", "navigation", "toggle navigation", "toggle menu", "open menu", "close menu", "close", "back",
		"back to top", "scroll to top", "go to top", "top", "next", "previous", "prev", "next page", "previous page", "older posts", "newer posts",
		"sign in", "sign up", "sign out", "log in", "log out", "login", "logout", "register", "my account", "account", "create account",
		"subscribe", "subscribe now", "unsubscribe", "newsletter", "newsletters", "follow us", "follow", "share", "share this", "share this article",
		"share on facebook", "share on twitter", "share on x", "share on linkedin", "tweet", "pin it", "copy link", "print", "email", "e-mail",
		"facebook", "twitter", "instagram", "linkedin", "youtube", "pinterest", "reddit", "whatsapp", "telegram", "tiktok", "rss",
		"advertisement", "advertisements", "ad", "ads", "sponsored", "sponsored content", "promoted",
		"read more", "read more...", "show more", "show less", "load more", "see more", "see all", "view all", "view more", "learn more", "more", "click here",
		"privacy", "privacy policy", "privacy notice", "privacy settings", "cookie policy", "cookies", "cookie notice", "terms", "terms of use",
		"terms of service", "terms and conditions", "terms & conditions", "legal", "legal notice", "disclaimer", "imprint", "impressum",
		"datenschutz", "accessibility", "accessibility statement", "do not sell my personal information", "do not sell or share my personal information",
		"sitemap", "site map", "contact", "contact us", "about", "about us", "careers", "jobs", "press", "help", "help center", "support", "faq", "feedback",
		"accept", "accept all", "reject", "reject all", "decline", "allow all", "manage preferences", "manage cookies", "got it", "ok",
		"loading", "please wait", "table of contents", "contents", "on this page", "edit", "edit source", "view source",
		"related articles", "related posts", "related topics", "recommended", "trending", "most popular", "most read", "you may also like",
		"comments", "leave a comment", "leave a reply", "reply", "add to cart", "cart", "checkout", "wishlist", "just a moment":
		return true
	}
	return false
}
