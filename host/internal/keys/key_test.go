package keys_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/keys"
)

// TestMake: keys are all different, have the one form, and are not in their hash.
func TestMake(t *testing.T) {
	form := regexp.MustCompile(`^pb_[a-z2-7]{8}_[a-z2-7]{39}$`)
	seen := map[string]bool{}
	for range 1000 {
		key, hash := keys.Make()
		id, salt, sum, err := config.SplitKeyHash(hash)
		if !form.MatchString(key) || len(key) != keys.Size || err != nil || id != key[3:11] {
			t.Fatalf("%s %s: %v", key, hash, err)
		}
		if got, ok := keys.Parse(key); !ok || got != id {
			t.Fatalf("%s is not read as %s", key, id)
		}
		for _, part := range []string{id, key[12:], string(salt), string(sum)} {
			if seen[part] {
				t.Fatalf("%q came twice", part)
			}
			seen[part] = true
		}
		if strings.Contains(hash, key[12:]) {
			t.Fatal("the hash holds the key")
		}
	}
}

// TestChecksum: CRC-32 finds every mistake in one digit, and every two neighbours that changed places.
func TestChecksum(t *testing.T) {
	key, _ := keys.Make()
	for i := range key {
		for _, digit := range config.KeyAlphabet + "_AZ189 " {
			wrong := key[:i] + string(digit) + key[i+1:]
			if _, ok := keys.Parse(wrong); ok != (wrong == key) {
				t.Errorf("%s: %v", wrong, ok)
			}
		}
		if i > 0 {
			wrong := key[:i-1] + key[i:i+1] + key[i-1:i] + key[i+1:]
			if _, ok := keys.Parse(wrong); ok != (wrong == key) {
				t.Errorf("%s: %v", wrong, ok)
			}
		}
	}
}

// FuzzParse: what is read as a key has its form, and nothing makes it panic.
func FuzzParse(f *testing.F) {
	for range 3 {
		key, _ := keys.Make()
		f.Add(key)
		f.Add(key[:len(key)-1])
		f.Add(strings.ToUpper(key))
	}
	f.Add("pb_")
	f.Add("pb_aaaaaaaa_" + strings.Repeat("é", 20))
	form := regexp.MustCompile(`^pb_([a-z2-7]{8})_[a-z2-7]{39}$`)
	f.Fuzz(func(t *testing.T, text string) {
		id, ok := keys.Parse(text)
		if m := form.FindStringSubmatch(text); ok && (m == nil || m[1] != id) {
			t.Errorf("%q is read as %q", text, id)
		}
	})
}
