package capability

// Hide makes a function that overwrites values in a text, in all the spellings that a guest would not see them in either. Values that
// are too short to be told from ordinary text stay.
func Hide(values ...string) func(string) string {
	var masks []*mask
	for _, v := range values {
		if m := newMask(v); m != nil {
			masks = append(masks, m)
		}
	}
	return func(text string) string {
		for _, m := range masks {
			text = m.text(text)
		}
		return text
	}
}
