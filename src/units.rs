//! Numbers as people read them.
//!
//! Never more exact than a glance needs.

/// `120 bytes`, `8 kB`, `12 MB`, as `pg_size_pretty` has it.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 10 * 1024 && unit + 1 < UNITS.len() {
        value = value.div_ceil(1024);
        unit += 1;
    }
    format!("{value} {}", UNITS.get(unit).unwrap_or(&"bytes"))
}

/// `1,234,567`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_at_a_glance() {
        let sizes = [0, 120, 8192, 16_384, 1 << 40].map(bytes);
        assert_eq!(sizes, ["0 bytes", "120 bytes", "8192 bytes", "16 kB", "1024 GB"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
