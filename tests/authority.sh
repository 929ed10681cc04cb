# Makes certificates for tests: source it, it runs nothing by itself. Needs openssl; with certutil also a store for Chromium.
#
# The caller has a function `fail` that ends it with a sentence.

readonly AUTHORITY_DAYS=2

# make_authority FOLDER  leaves in it authority.pem, server.pem with server.key for localhost and 127.0.0.1, and home/, whose
# .pki makes Chromium trust the authority.
make_authority() {
  local folder="$1" store="$1/home/.pki/nssdb"
  local -a key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$AUTHORITY_DAYS")
  {
    openssl req -x509 "${key[@]}" -subj '/CN=authority of tests' -keyout "$folder/authority.key" -out "$folder/authority.pem" &&
      openssl req -x509 "${key[@]}" -subj '/CN=localhost' -CA "$folder/authority.pem" -CAkey "$folder/authority.key" \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -addext 'basicConstraints=critical,CA:FALSE' \
        -keyout "$folder/server.key" -out "$folder/server.pem"
  } 2>"$folder/openssl.log" || fail "openssl made no certificate: $(cat "$folder/openssl.log")"
  if command -v certutil >/dev/null; then
    mkdir -p "$store"
    certutil -d "sql:$store" -N --empty-password
    certutil -d "sql:$store" -A -t C,, -n authority -i "$folder/authority.pem"
  fi
}

# trust_authority FOLDER  makes node, curl and Python that are started from here trust it, and nothing else.
trust_authority() {
  export NODE_EXTRA_CA_CERTS="$1/authority.pem" CURL_CA_BUNDLE="$1/authority.pem" SSL_CERT_FILE="$1/authority.pem"
}
