//! The least a relay can do: one thread, one task per client, bytes copied both ways. What a proxy costs is measured
//! against this.
//!
//! Never looks at a byte. Usage: `bare_relay UPSTREAM`; prints the address it listens on.

use std::io::{self, Write as _};

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};

/// As much as the proxy reads at once.
const READ_LEN: usize = 64 << 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let Some(target) = std::env::args().nth(1) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: bare_relay HOST:PORT"));
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    io::stdout().flush()?;
    loop {
        let (client, _) = listener.accept().await?;
        let target = target.clone();
        tokio::spawn(async move {
            if let Err(error) = relay(client, &target).await {
                eprintln!("{error}");
            }
        });
    }
}

async fn relay(mut client: TcpStream, target: &str) -> io::Result<()> {
    let mut upstream = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut client, &mut upstream, READ_LEN, READ_LEN).await?;
    Ok(())
}
