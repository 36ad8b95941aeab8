//! A client of the wire itself: one blocking connection that sends exactly the bytes a test wants and reads answers.
//!
//! Real clients refuse to send nonsense and hide what they retry; tests of bad input and of crashes need neither.

#![allow(clippy::disallowed_methods, reason = "a test harness outside the reactor: talks to real processes")]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use ringmq_remoting::code::request;
use ringmq_remoting::encode::write_request;
use ringmq_remoting::{Command, FRAME_BYTES_MAX, FieldValue, SerializeType};

/// How long a test waits for an answer that must come.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer, or a request of the server, with everything owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Response code.
    pub code: i32,
    /// Correlation id.
    pub opaque: i32,
    /// Bit 0: a response.
    pub is_response: bool,
    /// Error text or note.
    pub remark: String,
    /// Header fields.
    pub fields: BTreeMap<String, String>,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header field that must be there and be a number.
    ///
    /// # Panics
    /// It is not.
    pub fn long(&self, name: &str) -> i64 {
        self.fields
            .get(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("no number {name} in {self:?}"))
    }
}

/// One message to send by code 310, or a batch by 320.
#[derive(Clone, Copy, Debug)]
pub struct Send<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Queue; negative lets the broker choose.
    pub queue_id: i32,
    /// Properties in their wire form.
    pub properties: &'a str,
    /// The body holds batch entries.
    pub batch: bool,
    /// Body.
    pub body: &'a [u8],
}

/// One pull by code 11, with its own subscription and without waiting.
#[derive(Clone, Copy, Debug)]
pub struct Pull<'a> {
    /// Consumer group; made by the broker when it is new.
    pub group: &'a str,
    /// Topic.
    pub topic: &'a str,
    /// Queue.
    pub queue_id: i32,
    /// From this queue offset on.
    pub offset: i64,
    /// At most so many.
    pub count: i32,
}

/// A blocking connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    next_opaque: i32,
    out: BytesMut,
}

impl Connection {
    /// Connects within 5 s.
    ///
    /// # Errors
    /// As the socket says.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Connection { stream, next_opaque: 1, out: BytesMut::new() })
    }

    /// The socket, for tests that do something special to it.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Bytes as they are.
    ///
    /// # Errors
    /// As the socket says.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request and gives its correlation id.
    ///
    /// # Errors
    /// As the socket says.
    pub fn send(&mut self, code: i32, fields: &[(&str, FieldValue<'_>)], body: &[u8]) -> io::Result<i32> {
        self.send_as(SerializeType::Json, code, false, fields, body)
    }

    /// The same, with a choice of header encoding and of one-way.
    ///
    /// # Errors
    /// As the socket says.
    pub fn send_as(
        &mut self,
        serialize: SerializeType,
        code: i32,
        oneway: bool,
        fields: &[(&str, FieldValue<'_>)],
        body: &[u8],
    ) -> io::Result<i32> {
        let opaque = self.next_opaque;
        self.next_opaque += 1;
        self.out.clear();
        write_request(&mut self.out, serialize, code, opaque, oneway, fields, body);
        self.stream.write_all(&self.out)?;
        Ok(opaque)
    }

    /// Sends a message or a batch.
    ///
    /// # Errors
    /// As the socket says.
    pub fn send_message(&mut self, send: &Send<'_>) -> io::Result<i32> {
        let code = if send.batch { request::SEND_BATCH_MESSAGE } else { request::SEND_MESSAGE_V2 };
        let fields = [
            ("a", FieldValue::Str("wire")),
            ("b", FieldValue::Str(send.topic)),
            ("c", FieldValue::Str("TBW102")),
            ("d", FieldValue::Int(4)),
            ("e", FieldValue::Int(send.queue_id.into())),
            ("f", FieldValue::Int(0)),
            ("g", FieldValue::Int(now_ms())),
            ("h", FieldValue::Int(0)),
            ("i", FieldValue::Str(send.properties)),
            ("j", FieldValue::Int(0)),
            ("k", FieldValue::Bool(false)),
            ("m", FieldValue::Bool(send.batch)),
        ];
        self.send(code, &fields, send.body)
    }

    /// Sends a pull.
    ///
    /// # Errors
    /// As the socket says.
    pub fn send_pull(&mut self, pull: &Pull<'_>) -> io::Result<i32> {
        const SUBSCRIPTION: i64 = 4;
        let fields = [
            ("consumerGroup", FieldValue::Str(pull.group)),
            ("topic", FieldValue::Str(pull.topic)),
            ("queueId", FieldValue::Int(pull.queue_id.into())),
            ("queueOffset", FieldValue::Int(pull.offset)),
            ("maxMsgNums", FieldValue::Int(pull.count.into())),
            ("sysFlag", FieldValue::Int(SUBSCRIPTION)),
            ("commitOffset", FieldValue::Int(0)),
            ("suspendTimeoutMillis", FieldValue::Int(0)),
            ("subscription", FieldValue::Str("*")),
            ("subVersion", FieldValue::Int(0)),
            ("expressionType", FieldValue::Str("TAG")),
        ];
        self.send(request::PULL_MESSAGE, &fields, &[])
    }

    /// The next frame; `None` when the peer has closed.
    ///
    /// # Errors
    /// As the socket says, also when nothing came in time; or bytes that are no frame.
    pub fn receive(&mut self) -> io::Result<Option<Answer>> {
        let mut length = [0; 4];
        if !read_whole(&mut self.stream, &mut length)? {
            return Ok(None);
        }
        let bytes = u32::from_be_bytes(length) as usize;
        if bytes > 8 * FRAME_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("frame of {bytes} bytes")));
        }
        let mut frame = vec![0; 4 + bytes];
        frame[..4].copy_from_slice(&length);
        if !read_whole(&mut self.stream, &mut frame[4..])? {
            return Ok(None);
        }
        let command =
            Command::parse(&frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let fields =
            command.fields().map(|field| (field.key().into_owned(), field.value().into_owned())).collect();
        Ok(Some(Answer {
            code: command.code,
            opaque: command.opaque,
            is_response: command.is_response(),
            remark: command.remark.as_deref().unwrap_or_default().to_owned(),
            fields,
            body: command.body.to_vec(),
        }))
    }

    /// The answer to one request; requests of the server that come before it are dropped.
    ///
    /// # Errors
    /// As [`receive`](Self::receive), and `UnexpectedEof` when the peer closes instead.
    pub fn receive_answer(&mut self, opaque: i32) -> io::Result<Answer> {
        loop {
            match self.receive()? {
                Some(answer) if answer.is_response && answer.opaque == opaque => return Ok(answer),
                Some(_) => {}
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Request and answer.
    ///
    /// # Errors
    /// As [`receive_answer`](Self::receive_answer).
    pub fn call(&mut self, code: i32, fields: &[(&str, FieldValue<'_>)], body: &[u8]) -> io::Result<Answer> {
        let opaque = self.send(code, fields, body)?;
        self.receive_answer(opaque)
    }

    /// Sends a message and waits for the answer.
    ///
    /// # Errors
    /// As [`receive_answer`](Self::receive_answer).
    pub fn call_send(&mut self, send: &Send<'_>) -> io::Result<Answer> {
        let opaque = self.send_message(send)?;
        self.receive_answer(opaque)
    }

    /// Pulls and waits for the answer.
    ///
    /// # Errors
    /// As [`receive_answer`](Self::receive_answer).
    pub fn call_pull(&mut self, pull: &Pull<'_>) -> io::Result<Answer> {
        let opaque = self.send_pull(pull)?;
        self.receive_answer(opaque)
    }

    /// Makes or changes a topic with so many queues.
    ///
    /// # Errors
    /// As [`receive_answer`](Self::receive_answer).
    pub fn create_topic(&mut self, topic: &str, queues: i32) -> io::Result<Answer> {
        let fields = [
            ("topic", FieldValue::Str(topic)),
            ("defaultTopic", FieldValue::Str("TBW102")),
            ("readQueueNums", FieldValue::Int(queues.into())),
            ("writeQueueNums", FieldValue::Int(queues.into())),
            ("perm", FieldValue::Int(6)),
            ("topicFilterType", FieldValue::Str("SINGLE_TAG")),
            ("topicSysFlag", FieldValue::Int(0)),
            ("order", FieldValue::Bool(false)),
        ];
        self.call(request::UPDATE_AND_CREATE_TOPIC, &fields, &[])
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Fills `buffer`; false when the stream ended before its first byte.
fn read_whole(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
