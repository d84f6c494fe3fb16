#!/bin/sh
# A certificate in the store of a cluster, a listener that shows it, and its renewal, which cuts nobody off. Try it beside `npm start`, or after `haechi login`
# with any cluster (it adds the listener `www` on port 8443, or PORT, to the first VIP and the first pool, and the certificate `www`):
#   sh docs/examples/certificate-store.sh
# It needs openssl. To take all back: haechi config rollback to the revision before, then haechi certificate remove www.
set -eu
command -v openssl > /dev/null || { echo "openssl is not installed" >&2; exit 1; }
port=${PORT:-8443}
host=www.example.com
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
haechi() { node "$root/node/cli/haechi.cjs" "$@"; }

# Signed by itself: a real one comes from your CA, and is put in the same way. haechi says what is unusual about it.
issue() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days "$1" -subj "/CN=$host" -addext "subjectAltName=DNS:$host" \
    -keyout "$work/www.key" -out "$work/www.pem" 2>/dev/null
}
serial() { openssl x509 -noout -serial; }
shown() { openssl s_client -connect "$address:$port" -servername "$host" </dev/null 2>/dev/null | serial 2>/dev/null || true; }
# The other nodes have it within milliseconds; a listener that has just been added listens as soon.
wait_for() {
  for _ in $(seq 100); do
    [ "$(shown)" = "$1" ] && return 0
    sleep 0.1
  done
  echo "$address:$port does not show $1" >&2
  exit 1
}

issue 30
haechi certificate put www "$work/www.pem" --key "$work/www.key"

haechi config get > "$work/before.yaml"
address=$(sed -n '/^vips:/,/^[a-z]*:$/s/^ *address: //p' "$work/before.yaml" | head -n 1)
vip=$(sed -n '/^vips:/,/^[a-z]*:$/s/^ *- name: //p' "$work/before.yaml" | head -n 1)
pool=$(sed -n '/^pools:/,/^[a-z]*:$/s/^ *- name: //p' "$work/before.yaml" | head -n 1)
sed "/^listeners:/a\\
  - name: www\\
    vip: $vip\\
    port: $port\\
    protocol: https\\
    pool: $pool\\
    tls:\\
      certificates: [www]" "$work/before.yaml" > "$work/after.yaml"
haechi config apply -f "$work/after.yaml" -m 'https for www' --yes
wait_for "$(serial < "$work/www.pem")"
echo "$address:$port shows the certificate."

issue 90
haechi certificate put www "$work/www.pem" --key "$work/www.key"
wait_for "$(serial < "$work/www.pem")"
echo "$address:$port shows the renewed certificate."
haechi certificate list
