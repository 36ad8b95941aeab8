//! The work on glommio.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::io::OpenOptions;
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement};

use super::append::Samples;
use super::{FILE_BYTES, READ_BYTES, REPLY_BYTES, REQUEST_BYTES, complete_requests};

type Failure = Box<dyn std::error::Error>;

/// Serves echo until killed.
///
/// # Errors
/// When the executor or the listener cannot be made.
pub fn echo(cpu: usize) -> Result<(), Failure> {
    let executor = LocalExecutorBuilder::new(Placement::Fixed(cpu)).make()?;
    executor.run(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?);
        loop {
            let stream = listener.accept().await?;
            stream.set_nodelay(true)?;
            glommio::spawn_local(async {
                // The load ends by closing its sockets.
                let _ = serve(stream).await;
            })
            .detach();
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

/// Appends for `duration`.
///
/// # Errors
/// When the executor cannot be made or a write fails.
pub fn append(cpu: usize, path: PathBuf, bytes: usize, duration: Duration) -> Result<Samples, Failure> {
    let executor = LocalExecutorBuilder::new(Placement::Fixed(cpu)).make()?;
    executor.run(async move {
        // glommio has no per-write RWF_DSYNC; O_DSYNC on the file promises the same at a write's completion.
        let flags = nix::fcntl::OFlag::O_DSYNC.bits();
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).dma_open(path).await?;
        let buffer = Rc::new(file.alloc_dma_buffer(bytes));
        let mut samples = Samples::default();
        let mut offset = 0;
        let started = Instant::now();
        samples.begin();
        while started.elapsed() < duration {
            if offset + bytes as u64 > FILE_BYTES {
                offset = 0;
            }
            let before = Instant::now();
            let written = file.write_rc_at(Rc::clone(&buffer), offset).await?;
            assert_eq!(written, bytes, "a short write");
            samples.add(before.elapsed());
            offset += bytes as u64;
        }
        samples.end();
        file.close().await?;
        Ok(samples)
    })
}
