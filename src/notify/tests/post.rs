//! A server that speaks SMTP as it is told, word by word.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What it answers to a line: bytes as they are sent, or nothing and an end of the connection. `MESSAGE` is the end of one.
type Play = Box<dyn FnMut(&str) -> Option<String> + Send>;

#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    messages: Vec<String>,
}

/// See the module documentation.
#[derive(Clone)]
pub(super) struct Post {
    pub(super) port: u16,
    heard: Arc<Mutex<Heard>>,
    play: Arc<Mutex<Play>>,
}

impl Post {
    /// Says to each line what `play` yields, and as a good server would where that is `"?"`.
    pub(super) async fn start(play: impl FnMut(&str) -> Option<String> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let post = Self { port, heard: Arc::default(), play: Arc::new(Mutex::new(Box::new(play))) };
        let served = post.clone();
        // It ends with the runtime of the test.
        tokio::spawn(async move {
            while let Ok((stream, _peer)) = listener.accept().await {
                // A client that is gone is what some of the tests are about.
                let talk = served.clone();
                tokio::spawn(async move { talk.talk(stream).await.unwrap_or_default() });
            }
        });
        post
    }

    pub(super) async fn good() -> Self {
        Self::start(|_line| Some("?".to_owned())).await
    }

    /// Answers otherwise from now on.
    pub(super) fn play(&self, play: impl FnMut(&str) -> Option<String> + Send + 'static) {
        *self.play.lock().unwrap() = Box::new(play);
    }

    /// The commands that came.
    pub(super) fn lines(&self) -> Vec<String> {
        self.heard.lock().unwrap().lines.clone()
    }

    /// The messages that were taken or not, with the dots that were added.
    pub(super) fn messages(&self) -> Vec<String> {
        self.heard.lock().unwrap().messages.clone()
    }

    fn answer(&self, line: &str) -> Option<String> {
        let answer = (self.play.lock().unwrap())(line)?;
        if answer != "?" {
            return Some(answer);
        }
        let good = match line {
            "GREETING" => "220 post.example.com\r\n",
            "DATA" => "354 go on\r\n",
            _ if line.starts_with("EHLO") => "250-post.example.com\r\n250-AUTH LOGIN\r\n250 8BITMIME\r\n",
            _ if line.starts_with("AUTH") => "334 VXNlcm5hbWU6\r\n",
            _ => "250 OK\r\n",
        };
        Some(good.to_owned())
    }

    async fn talk(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut line = "GREETING".to_owned();
        loop {
            let Some(answer) = self.answer(&line) else { return Ok(()) };
            stream.write_all(answer.as_bytes()).await?;
            if answer.starts_with("354") {
                let message = message(&mut stream).await?;
                self.heard.lock().unwrap().messages.push(message);
                line = "MESSAGE".to_owned();
                continue;
            }
            line.clear();
            if (&mut stream).take(1 << 16).read_line(&mut line).await? == 0 {
                return Ok(());
            }
            line = line.strip_suffix("\r\n").expect("lines end with CR LF").to_owned();
            self.heard.lock().unwrap().lines.push(line.clone());
        }
    }
}

async fn message(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut message = String::new();
    while !message.ends_with("\r\n.\r\n") {
        if stream.read_line(&mut message).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(message)
}
