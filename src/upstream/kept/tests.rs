//! What clients wait for when an upstream hangs.

use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::upstream::dial::Route;

/// So many connections that have waited for that long; their other ends say nothing.
async fn kept(count: usize, waited: Duration) -> (Kept, TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (kept, mut ends) = (Kept::new(count), Vec::new());
    for _each in 0..count {
        let stream = UpstreamStream::Tcp(TcpStream::connect(address).await.unwrap());
        ends.push(listener.accept().await.unwrap().0);
        let now = Instant::now();
        let origin = Origin { settings: Settings::default(), reported: Reported::new(&[]), born: now };
        let cancel = UpstreamCancel { route: Route::Plain(address), connect_timeout: PATIENCE, key: None };
        kept.lock().push(Waiting { origin, stream, cancel, since: now.checked_sub(waited).unwrap() });
    }
    (kept, listener, ends)
}

#[tokio::test]
async fn however_many_hang_a_client_waits_for_two_seconds() {
    let (kept, _listener, _ends) = kept(10, FRESH * 2).await;
    let began = Instant::now();
    assert!(kept.take(&Settings::default()).await.is_none());
    assert!(began.elapsed() < ASKING_MAX * 2, "{:?}", began.elapsed());
    assert_eq!(kept.lock().len(), 0, "nobody else waits for them");
}

#[tokio::test]
async fn one_that_was_used_just_now_is_taken_unasked() {
    let (kept, _listener, _ends) = kept(2, Duration::ZERO).await;
    assert!(kept.take(&Settings::default()).await.is_some());
    assert_eq!(kept.lock().len(), 1);
}

#[tokio::test]
async fn those_that_are_gone_are_passed_over() {
    let (kept, _listener, mut ends) = kept(3, Duration::ZERO).await;
    ends.truncate(1);
    // The ends of the two that were used last; the system tells of them in its own time.
    while kept.lock().iter().filter(|waiting| waiting.stream.is_silent()).count() > 1 {
        tokio::task::yield_now().await;
    }
    assert!(kept.take(&Settings::default()).await.is_some());
    assert_eq!(kept.lock().len(), 0);
}

#[test]
fn what_was_reported_is_known_again_and_nothing_else_is() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let parameters = [pair("TimeZone", "Etc/UTC"), pair("application_name", ""), pair("is_superuser", "off")];
    let reported = Reported::new(&parameters);
    assert_eq!(reported.parameters(), parameters);
    assert!(parameters.iter().all(|(name, value)| reported.contains(name, value)));
    for (name, value) in [("is_superuser", "on"), ("Etc/UTC", "application_name"), ("", "is_superuser"), ("off", "")] {
        assert!(!reported.contains(name, value), "{name} {value}");
    }
    assert_eq!(Reported::new(&[]).parameters(), []);
}
