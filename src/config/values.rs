//! Values with a form of their own: durations, listen addresses.
//!
//! Never resolves host names. Invariant: a duration is at least a second and at most ten years.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::ListenAddress;

const LONGEST: u64 = 3650 * 86_400;

/// Reads `90s`, `30m`, `1h`, `400d`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let unit = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (1..=LONGEST).contains(&seconds).then(|| Duration::from_secs(seconds))
}

/// Reads `127.0.0.1:6543`, `[::1]:6543`, `localhost:6543`, `unix:/path`.
pub(super) fn listen(text: &str) -> Option<ListenAddress> {
    if let Some(path) = text.strip_prefix("unix:") {
        return path.starts_with('/').then(|| ListenAddress::Unix(PathBuf::from(path)));
    }
    socket(text).map(ListenAddress::Tcp)
}

/// Reads an IP address and port; `localhost` stands for 127.0.0.1.
pub(super) fn socket(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?))),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, seconds: Option<u64>) {
        assert_eq!(duration(text), seconds.map(Duration::from_secs), "{text}");
    }

    #[test]
    fn durations_have_one_number_and_one_unit() {
        check("90s", Some(90));
        check("30m", Some(1800));
        check("1h", Some(3600));
        check("400d", Some(34_560_000));
        for bad in ["", "m", "30", "1.5h", "-1m", "+1m", "1 h", "0s", "1w", "1h30m", "99999999999999999999d", "5é", "é"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn addresses_are_ip_and_port_or_a_socket_path() {
        assert_eq!(listen("0.0.0.0:6543"), Some(ListenAddress::Tcp(SocketAddr::from(([0, 0, 0, 0], 6543)))));
        assert_eq!(listen("localhost:0"), Some(ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))));
        assert_eq!(listen("unix:/run/x"), Some(ListenAddress::Unix(PathBuf::from("/run/x"))));
        for bad in ["unix:run/x", "6543", "db.example.com:5432", "127.0.0.1"] {
            assert_eq!(listen(bad), None, "{bad}");
        }
    }
}
