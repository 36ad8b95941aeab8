//! The work on tokio's single-threaded runtime.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{READ_BYTES, REPLY_BYTES, REQUEST_BYTES, complete_requests};

/// Pins the calling thread.
///
/// # Errors
/// When the processor is not there.
pub fn pin(cpu: usize) -> std::io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Serves echo until killed.
///
/// # Errors
/// When the runtime or the listener cannot be made.
pub fn echo(cpu: usize) -> Result<(), Box<dyn std::error::Error>> {
    pin(cpu)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async {
                // The load ends by closing its sockets.
                let _ = serve(stream).await;
            });
        }
    })
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let replies = vec![b'a'; REPLY_BYTES * (READ_BYTES / REQUEST_BYTES + 1)];
    let mut partial = 0;
    loop {
        let bytes = stream.read(&mut buffer).await?;
        if bytes == 0 {
            return Ok(());
        }
        let complete = complete_requests(&mut partial, bytes);
        stream.write_all(&replies[..complete * REPLY_BYTES]).await?;
    }
}
