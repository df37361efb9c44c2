// Package keys knows the API keys of the public listener: how one is made and stored, whether one that a client sends is good,
// and for which routes. Its Gate stands in front of all of them.
//
// It knows no users and no sessions, counts nobody's requests, and never keeps a key: only salted hashes. The operator's
// listener has a token of its own, in package admin.
package keys

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"hash/crc32"
	"strings"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// A key is pb_, eight digits that name it and are no secret, _, 32 digits of chance, and seven that are a checksum of all before
// them, so that a typing mistake is told from a key that is not known. A digit carries five bits. The form follows GitHub's:
// https://github.blog/engineering/behind-githubs-new-authentication-token-formats/
const (
	secretSize   = 32
	checksumSize = 7
	idEnd        = len(config.KeyPrefix) + config.KeyIDSize
	secretEnd    = idEnd + 1 + secretSize

	// Size is how long a key is, in bytes.
	Size = secretEnd + checksumSize
)

// Make returns a new key, of 160 random bits besides its id, and the hash to store in its place. The key cannot be had from
// the hash again.
func Make() (key, hash string) {
	var chance [(config.KeyIDSize + secretSize) * 5 / 8]byte
	_, _ = rand.Read(chance[:]) // it never fails
	digits := base32.NewEncoding(config.KeyAlphabet).WithPadding(base32.NoPadding).EncodeToString(chance[:])
	body := config.KeyPrefix + digits[:config.KeyIDSize] + "_" + digits[config.KeyIDSize:]
	check := checksum(body)
	key = body + string(check[:])
	var salt [config.KeySaltSize]byte
	_, _ = rand.Read(salt[:])
	sum := digest(salt, key)
	return key, config.JoinKeyHash(key[len(config.KeyPrefix):idEnd], salt[:], sum[:])
}

// digest is SHA-256 over salt and key. Guessing at 160 random bits needs no slow hash to be hopeless.
func digest(salt [config.KeySaltSize]byte, key string) [sha256.Size]byte {
	var text [config.KeySaltSize + Size]byte
	copy(text[:], salt[:])
	copy(text[config.KeySaltSize:], key)
	return sha256.Sum256(text[:])
}

// checksum is the CRC-32 (IEEE) of a key's other parts, in the key's digits.
func checksum(body string) (digits [checksumSize]byte) {
	sum := crc32.ChecksumIEEE([]byte(body))
	for i := checksumSize - 1; i >= 0; i-- {
		digits[i] = config.KeyAlphabet[sum&31]
		sum >>= 5
	}
	return digits
}

// parse returns the public part of a key; false for what was mistyped or never was one.
func parse(key string) (id string, ok bool) {
	if len(key) != Size || !shaped(key) {
		return "", false
	}
	check := checksum(key[:secretEnd])
	return key[len(config.KeyPrefix):idEnd], key[secretEnd:] == string(check[:])
}

// shaped says whether a text begins as a key does, whatever its checksum.
func shaped(s string) bool {
	if len(s) < Size || !strings.HasPrefix(s, config.KeyPrefix) || s[idEnd] != '_' {
		return false
	}
	for i := len(config.KeyPrefix); i < Size; i++ {
		if c := s[i]; i != idEnd && (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// holds says whether a key stands anywhere in a text.
func holds(s string) bool {
	for {
		i := strings.Index(s, config.KeyPrefix)
		if i < 0 {
			return false
		}
		if s = s[i:]; shaped(s) {
			return true
		}
		s = s[len(config.KeyPrefix):]
	}
}
