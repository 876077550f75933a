/** Make a random UUID, also where `crypto.randomUUID` is missing: plain http to a name other than localhost. */
export function uuid() {
  return crypto.randomUUID?.() ?? fromBytes(crypto.getRandomValues(new Uint8Array(16)))
}

/** Write 16 random bytes as a version 4 UUID (RFC 9562, section 5.4). */
export function fromBytes(bytes) {
  bytes[6] = (bytes[6] & 0x0f) | 0x40
  bytes[8] = (bytes[8] & 0x3f) | 0x80
  const hex = Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("")
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5")
}
