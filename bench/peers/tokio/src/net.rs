//! The net server on Tokio; README.md of bench/peers says what it has to do.
//!
//! Reads go by poll_read throughout, also where the buffer is on the stack of the poll: it knows
//! that a read which does not fill the buffer has emptied the socket. try_read after
//! readable().await does not, and would cost a system call that says WouldBlock for each request.

mod version;

use std::future::poll_fn;
use std::io;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::process::exit;
use std::sync::LazyLock;
use std::task::{ready, Context, Poll};
use std::thread;
use std::time::Duration;

use memchr::{memchr, memmem};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const USAGE: &str = "\
usage: PROGRAM net --serve=http|echo [--workers=N] [--lean] [--spin=N] [--port=P]
       PROGRAM net --about
";
const BACKLOG: u32 = 4096;
const HTTP_BUFFER: usize = 4096;
const ECHO_BUFFER: usize = 65536;
const MAX_USEC: u64 = 10_000_000;
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";

// ---- http ----

static HEAD_END: LazyLock<memmem::Finder> = LazyLock::new(|| memmem::Finder::new(b"\r\n\r\n"));

/// Rounds of xorshift64, `spin` for each microsecond.
fn compute(digits: &[u8], spin: u64) {
    let usec = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |usec: u64, digit| {
            (usec * 10 + u64::from(digit - b'0')).min(MAX_USEC)
        });
    let mut x: u64 = 88172645463325252;
    for _ in 0..usec * spin {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    std::hint::black_box(x);
}

/// What a request asks for besides its answer.
enum Order {
    GoOn,
    Close,
    /// It has no path: close without an answer.
    Refuse,
}

fn obey(request: &[u8], spin: u64) -> Order {
    let Some(before) = memchr(b' ', request) else {
        return Order::Refuse;
    };
    let path = &request[before + 1..];
    match memchr(b' ', path) {
        None | Some(0) => return Order::Refuse,
        Some(end) => {
            let path = &path[..end];
            if path == b"/close" {
                return Order::Close;
            }
            if let Some(digits) = path.strip_prefix(b"/compute/") {
                compute(digits, spin);
            }
        }
    }
    Order::GoOn
}

/// How far the answering of a buffer came. Its answers have to be written first in each case.
#[derive(PartialEq)]
enum State {
    /// No complete request is left: read more.
    Read,
    /// There is no room for another answer: go on answering.
    Room,
    /// That was the last one.
    Close,
}

/// The answers of a connection that are yet to be written; their memory may be the stack's.
struct Answers<'a> {
    bytes: &'a mut [MaybeUninit<u8>],
    len: usize,
}

impl Answers<'_> {
    fn has_room(&self) -> bool {
        self.bytes.len() - self.len >= ANSWER.len()
    }

    fn push(&mut self) {
        let to = &mut self.bytes[self.len..self.len + ANSWER.len()];
        // SAFETY: both are of this length.
        unsafe {
            to.as_mut_ptr()
                .cast::<u8>()
                .copy_from_nonoverlapping(ANSWER.as_ptr(), ANSWER.len())
        };
        self.len += ANSWER.len();
    }

    fn as_slice(&self) -> &[u8] {
        // SAFETY: push has written so many.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.len) }
    }
}

/// Answers complete requests of `input` as long as there is room. Returns how much of it is done.
fn answer(input: &[u8], answers: &mut Answers, spin: u64) -> (usize, State) {
    let mut parsed = 0;
    while let Some(end) = HEAD_END.find(&input[parsed..]) {
        if !answers.has_room() {
            return (parsed, State::Room);
        }
        let order = obey(&input[parsed..parsed + end + 4], spin);
        if !matches!(order, Order::Refuse) {
            answers.push();
        }
        parsed += end + 4;
        if !matches!(order, Order::GoOn) {
            return (parsed, State::Close);
        }
    }
    if input.len() - parsed == HTTP_BUFFER {
        return (parsed, State::Close);
    }
    (parsed, State::Read)
}

/// With buffers of its own.
async fn http(mut stream: TcpStream, spin: u64) -> io::Result<()> {
    let mut input = Vec::with_capacity(HTTP_BUFFER);
    let mut output = Box::<[u8]>::new_uninit_slice(HTTP_BUFFER);
    while stream.read_buf(&mut input).await? > 0 {
        loop {
            let mut answers = Answers {
                bytes: &mut output,
                len: 0,
            };
            let (parsed, state) = answer(&input, &mut answers, spin);
            if answers.len > 0 {
                stream.write_all(answers.as_slice()).await?;
            }
            input.drain(..parsed);
            match state {
                State::Read => break,
                State::Room => continue,
                State::Close => return Ok(()),
            }
        }
    }
    Ok(())
}

/// What a turn on the stack has left to do.
struct Rest {
    ended: bool,
    state: State,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// Reads and answers on the stack, and tries to write, all within one poll.
fn poll_turn(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    kept: &mut Vec<u8>,
    spin: u64,
) -> Poll<io::Result<Rest>> {
    let mut input = [MaybeUninit::uninit(); HTTP_BUFFER];
    let mut output = [MaybeUninit::uninit(); HTTP_BUFFER];
    let mut input = ReadBuf::uninit(&mut input);
    let mut answers = Answers {
        bytes: &mut output,
        len: 0,
    };
    input.put_slice(kept);
    ready!(Pin::new(&mut *stream).poll_read(cx, &mut input))?;
    let mut rest = Rest {
        ended: input.filled().len() == kept.len(),
        state: State::Close,
        input: Vec::new(),
        output: Vec::new(),
    };
    if rest.ended {
        return Poll::Ready(Ok(rest));
    }
    *kept = Vec::new();
    let (parsed, state) = answer(input.filled(), &mut answers, spin);
    let written = match answers.len {
        0 => 0,
        _ => match stream.try_write(answers.as_slice()) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Poll::Ready(Err(error)),
        },
    };
    // Of what is done, nothing is allocated.
    rest.input = input.filled()[parsed..].to_vec();
    rest.output = answers.as_slice()[written..].to_vec();
    rest.state = state;
    Poll::Ready(Ok(rest))
}

/// Without buffers, but for a piece of a request and for answers that could not be written.
async fn http_lean(mut stream: TcpStream, spin: u64) -> io::Result<()> {
    let mut kept = Vec::new();
    loop {
        let rest = poll_fn(|cx| poll_turn(&mut stream, cx, &mut kept, spin)).await?;
        if rest.ended {
            return Ok(());
        }
        if rest.output.is_empty() && rest.input.is_empty() && rest.state == State::Read {
            continue;
        }
        match go_on(&mut stream, rest, spin).await? {
            Some(input) => kept = input,
            None => return Ok(()),
        }
    }
}

/// What seldom happens, in a future of its own on the heap, so that a connection need not have room
/// for it: writes the rest, and answers what there was no room for. None: it was the last.
fn go_on(
    stream: &mut TcpStream,
    rest: Rest,
    spin: u64,
) -> Pin<Box<dyn std::future::Future<Output = io::Result<Option<Vec<u8>>>> + Send + '_>> {
    Box::pin(async move {
        let Rest {
            mut state,
            mut input,
            output,
            ..
        } = rest;
        stream.write_all(&output).await?;
        let mut output = Box::<[u8]>::new_uninit_slice(HTTP_BUFFER);
        while state == State::Room {
            let mut answers = Answers {
                bytes: &mut output,
                len: 0,
            };
            let (parsed, next) = answer(&input, &mut answers, spin);
            stream.write_all(answers.as_slice()).await?;
            input.drain(..parsed);
            state = next;
        }
        Ok((state == State::Read).then_some(input))
    })
}

// ---- echo ----

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(ECHO_BUFFER);
    while stream.read_buf(&mut buffer).await? > 0 {
        stream.write_all(&buffer).await?;
        buffer.clear();
    }
    Ok(())
}

// ---- The command line ----

struct Options {
    echo: bool,
    lean: bool,
    workers: usize,
    spin: u64,
    port: u16,
}

fn refuse(message: &str) -> ! {
    eprint!("skua-peer-tokio-net: {message}\n{USAGE}");
    exit(2);
}

fn number(name: &str, value: &str, min: u64, max: u64) -> u64 {
    match value.parse() {
        Ok(number) if (min..=max).contains(&number) => number,
        _ => refuse(&format!(
            "{name}={value}: expected a number from {min} to {max}"
        )),
    }
}

fn read_options() -> Options {
    let cpus = thread::available_parallelism().map_or(1, |n| n.get());
    let mut options = Options {
        echo: false,
        lean: false,
        workers: cpus,
        spin: 300,
        port: 0,
    };
    let mut served = false;
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some("net") {
        refuse("expected net");
    }
    while let Some(argument) = arguments.next() {
        let (name, given) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (argument.as_str(), None),
        };
        let mut value = || {
            given
                .clone()
                .or_else(|| arguments.next())
                .unwrap_or_else(|| refuse(&format!("{name} needs a value")))
        };
        match name {
            "--about" => {
                println!(
                    "{{\"program\": \"tokio\", \"version\": \"{}\", \"language\": \"{}\"}}",
                    version::tokio_version(),
                    env!("COMPILER")
                );
                exit(0);
            }
            "--serve" => {
                served = true;
                options.echo = match value().as_str() {
                    "http" => false,
                    "echo" => true,
                    other => refuse(&format!("--serve={other}: expected http or echo")),
                }
            }
            "--lean" => options.lean = true,
            "--workers" => options.workers = number(name, &value(), 1, 512) as usize,
            "--spin" => options.spin = number(name, &value(), 1, 1_000_000),
            "--port" => options.port = number(name, &value(), 0, 65535) as u16,
            _ => refuse(&format!("unknown argument {argument}")),
        }
    }
    if !served {
        refuse("expected --serve");
    }
    options
}

// ---- The server ----

/// Accepted sockets inherit TCP_NODELAY.
fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, options: Options) {
    let spin = options.spin;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of descriptors, most likely: no spinning until there are some.
                thread::sleep(Duration::from_millis(1));
                continue;
            }
        };
        // An error ends its connection, and nothing else.
        if options.echo {
            tokio::spawn(echo(stream));
        } else if options.lean {
            tokio::spawn(http_lean(stream, spin));
        } else {
            tokio::spawn(http(stream, spin));
        }
    }
}

extern "C" fn on_signal(_: libc::c_int) {
    // SAFETY: _exit may be called in a signal handler.
    unsafe { libc::_exit(0) }
}

/// SIGTERM ends the process at once, and so does the end of standard input. As many descriptors as
/// this user may have.
fn prepare() {
    let handler: extern "C" fn(libc::c_int) = on_signal;
    // SAFETY: the handler is safe in a signal; the limit is one that was read.
    unsafe {
        libc::signal(libc::SIGTERM, handler as *const () as libc::sighandler_t);
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
    thread::spawn(|| {
        let mut bytes = [0; 64];
        while matches!(io::stdin().read(&mut bytes), Ok(n) if n > 0) {}
        // SAFETY: nothing is to be cleaned up.
        unsafe { libc::_exit(0) }
    });
}

fn main() {
    let options = read_options();
    prepare();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.workers)
        .enable_io()
        .build()
        .expect("the runtime");
    let _entered = runtime.enter();
    let listener = listen(options.port).expect("listening");
    let addr = listener.local_addr().expect("the address");
    println!("listening on {addr}");
    io::stdout().flush().expect("standard output");
    // In a task of its own: a thread in block_on is no worker.
    let accepting = runtime.spawn(accept(listener, options));
    let _ = runtime.block_on(accepting);
    exit(1);
}
