#include "acl/password.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/random.h>

#include "acl/user.h"
#include "storage/status.h"

static const char digits_of[] = "0123456789abcdef";

int
password_hash(struct bytes password, char *ret)
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	if (EVP_Digest(password.data, password.size, hash, &size, EVP_sha256(), NULL) != 1 ||
	    size != ACL_HASH_SIZE / 2)
		return SETT_NO_MEMORY;
	for (unsigned i = 0; i < size; i++) {
		ret[2 * i] = digits_of[hash[i] >> 4];
		ret[2 * i + 1] = digits_of[hash[i] & 15];
	}
	return SETT_OK;
}

bool
password_is_hash(struct bytes text)
{
	for (size_t i = 0; i < text.size; i++)
		if (text.data[i] == 0 || strchr(digits_of, text.data[i]) == NULL)
			return false;
	return text.size == ACL_HASH_SIZE;
}

int
password_check(const struct acl_user *u, struct bytes password)
{
	char hash[ACL_HASH_SIZE];
	if ((u->flags & ACL_USER_OFF) != 0)
		return SETT_INVALID;
	if ((u->flags & ACL_USER_NO_PASSWORD) != 0)
		return SETT_OK;
	if (password_hash(password, hash) != SETT_OK)
		return SETT_NO_MEMORY;
	bool matches = false;
	for (size_t i = 0; i < u->password_count; i++)
		matches |= CRYPTO_memcmp(hash, u->passwords[i].hash, ACL_HASH_SIZE) == 0;
	return matches ? SETT_OK : SETT_INVALID;
}

int
password_make(char *ret, size_t digits)
{
	unsigned char bytes[256];
	for (size_t done = 0; done < digits;) {
		ssize_t got = getrandom(bytes, sizeof(bytes), 0);
		if (got <= 0)
			return SETT_IO;
		for (ssize_t i = 0; i < got && done < digits; i++)
			ret[done++] = digits_of[bytes[i] & 15];
	}
	return SETT_OK;
}
