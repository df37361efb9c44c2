package config

import "go.yaml.in/yaml/v3"

// pair is a key of a mapping with its value.
type pair struct {
	key  string
	line int
	node *yaml.Node
}

// pairs lists what a mapping holds, merged mappings ("<<: *base") included: a key of the mapping
// itself wins over a merged one, and an earlier merged one over a later. A key that is given twice
// is reported and listed twice.
func (f *fileReader) pairs(n *yaml.Node, p path) []pair {
	var own []pair
	var merges []*yaml.Node
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := origin{source: f.name, line: key.Line}
		if key.ShortTag() == "!!merge" {
			merges = append(merges, value)
			continue
		}
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode || len(key.Value) > maxKey {
			f.report.add(at, p, "a key must be a text of at most %d bytes", maxKey)
			continue
		}
		if first, twice := lines[key.Value]; twice {
			f.report.add(at, p.key(key.Value), "the key is given twice, first on line %d", first)
		} else {
			lines[key.Value] = at.line
		}
		own = append(own, pair{key.Value, at.line, value})
	}
	for _, merge := range merges {
		for _, extra := range f.merged(merge, p) {
			if _, have := lines[extra.key]; !have {
				lines[extra.key] = extra.line
				own = append(own, extra)
			}
		}
	}
	return own
}

// merged lists what the value of a "<<" brings: of one mapping, or of a list of them. Of a key that
// is listed twice the first counts.
func (f *fileReader) merged(n *yaml.Node, p path) []pair {
	at := origin{source: f.name, line: n.Line}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if !f.spend(1 + len(n.Content)/2) { // its keys are looked at here, whether or not they are kept
		return nil
	}
	if f.open[n] {
		f.report.add(at, p, "the anchor %s contains itself", shown(n.Anchor))
		return nil
	}
	f.open[n] = true
	defer delete(f.open, n)

	switch n.Kind {
	case yaml.MappingNode:
		return f.pairs(n, p)
	case yaml.SequenceNode:
		var all []pair
		for _, item := range n.Content {
			all = append(all, f.merged(item, p)...)
		}
		return all
	}
	f.report.add(at, p, "<< wants a mapping, or a list of them")
	return nil
}
