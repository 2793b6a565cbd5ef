//! Connections that wait, and those who come when there are too many.

use tokio::net::TcpStream;

use super::*;

const MOST: usize = 8;

async fn send(site: &Site, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// The status of the answer, of which the rest is left.
async fn status(stream: &mut TcpStream) -> String {
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.unwrap();
    String::from_utf8(line[9..].to_vec()).unwrap()
}

/// Reads what is left until it is ended, by whichever way.
async fn ended(stream: &mut TcpStream, what: &str) {
    let mut rest = Vec::new();
    let end = tokio::time::timeout(std::time::Duration::from_secs(10), stream.read_to_end(&mut rest));
    assert!(end.await.is_ok(), "{what} is still open");
}

/// A call that comes to its end; what was sent before it has been looked at then.
async fn probe(site: &Site) {
    let mut probe = send(site, "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&mut probe).await, "200");
    let mut rest = Vec::new();
    probe.read_to_end(&mut rest).await.unwrap();
}

/// Fills the room with such connections, twice over; whoever comes then is served, and the oldest are ended.
async fn check(text: &str) {
    let site = Site::with_room(MOST).await;
    let mut slow = Vec::new();
    for _each in 0..2 * MOST {
        slow.push(send(&site, text).await);
    }
    probe(&site).await;
    assert_eq!(site.get("/readyz", "").await.0, 200, "{text}");
    for (at, stream) in slow.iter_mut().enumerate().take(MOST) {
        ended(stream, &format!("{text} {at}")).await;
    }
    site.stop().await;
}

#[tokio::test]
async fn who_comes_is_served_however_many_keep_their_calls_back() {
    check("").await;
    check("GET /readyz HTTP/1.1\r\nHost: x\r\nX-Slow:").await;
    check("POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 50\r\n\r\nname=")
        .await;
    check("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
}

#[tokio::test]
async fn what_is_served_goes_on_and_leaves_no_room_for_more_than_there_is() {
    let site = Site::with_room(MOST).await;
    let text = "GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer bob-token\r\n\r\n";
    let mut served = Vec::new();
    for _each in 0..MOST {
        let mut stream = send(&site, text).await;
        assert_eq!(status(&mut stream).await, "200");
        served.push(stream);
    }
    let mut late = send(&site, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
    ended(&mut late, "one for which there is no room").await;
    let (id, _waiting) = site.hold("dba").await;
    for stream in &mut served {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(&id) {
            assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0, "it was ended");
        }
    }
    // Its place comes back when its server has noticed.
    served.pop();
    while status_of_probe(&site).await.is_none() {}
    site.stop().await;
}

/// `None` when there was no room.
async fn status_of_probe(site: &Site) -> Option<()> {
    let mut probe = send(site, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut line = [0; 12];
    probe.read_exact(&mut line).await.ok().map(drop)
}
