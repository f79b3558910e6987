//! What the two sides of an enclosure say to each other, over one socket.
//!
//! The inside speaks first and once: that it is ready, with the listeners that it made, or why there is none. Then the
//! outside gives the secrets, which is also the word to go on, and nothing more is said.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::api::run::Secrets;

/// Listeners that can be handed over: the proxy's, that of an ssh server, and those of ports.
pub(super) const MOST_LISTENERS: usize = 34;
/// The longest word of the inside, in bytes.
const LONGEST_WORD: usize = 4096;

/// What the inside says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    /// The enclosure stands.
    Ready,
    /// It cannot be made here.
    Refused(String),
}

/// Says `word` and hands the listeners over.
pub(super) fn say(socket: &UnixStream, word: &Word, listeners: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut text = serde_json::to_vec(word)?;
    text.truncate(LONGEST_WORD - 1);
    text.push(b'\n');
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_LISTENERS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !listeners.is_empty() && !control.push(SendAncillaryMessage::ScmRights(listeners)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(socket, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
    let mut socket = socket;
    socket.write_all(text.get(sent..).unwrap_or_default())
}

/// Returns what the inside says; `None` when it ended without a word.
pub(super) fn hear(socket: &UnixStream) -> io::Result<Option<(Word, Vec<OwnedFd>)>> {
    let (mut text, mut listeners) = (Vec::new(), Vec::new());
    while !text.ends_with(b"\n") {
        let mut buffer = [0; LONGEST_WORD];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_LISTENERS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                listeners.extend(descriptors);
            }
        }
        if received.bytes == 0 || text.len() > LONGEST_WORD {
            return Ok(None);
        }
        text.extend_from_slice(buffer.get(..received.bytes).unwrap_or_default());
    }
    Ok(Some((serde_json::from_slice(&text)?, listeners)))
}

/// Gives the secrets, and with them the word to go on.
pub(super) fn give(mut socket: &UnixStream, secrets: &Secrets) -> io::Result<()> {
    socket.write_all(&serde_json::to_vec(secrets)?)?;
    socket.shutdown(Shutdown::Write)
}

/// Takes the secrets; an outside that ended before it gave them is an error.
pub(super) fn take(socket: &UnixStream) -> io::Result<Secrets> {
    let mut text = Vec::new();
    let mut socket = socket;
    socket.read_to_end(&mut text)?;
    // The source of the error is dropped: it could quote what must not be shown.
    serde_json::from_slice(&text).map_err(|_| io::ErrorKind::UnexpectedEof.into())
}

/// Returns the socket that whoever started us made our standard input.
pub(super) fn inherited() -> io::Result<UnixStream> {
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn listeners_are_handed_over_and_secrets_are_the_word_to_go_on() {
        let (outside, inside) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        say(&inside, &Word::Ready, &[listener.as_fd()]).unwrap();
        drop(listener);
        let (word, mut listeners) = hear(&outside).unwrap().unwrap();
        assert_eq!((word, listeners.len()), (Word::Ready, 1));
        let handed = TcpListener::from(listeners.remove(0));
        TcpStream::connect(address).unwrap();
        handed.accept().unwrap();

        let mut secrets = Secrets::default();
        secrets.environment.insert("KEY".to_owned(), crate::secret::Secret::new("k"));
        give(&outside, &secrets).unwrap();
        assert_eq!(take(&inside).unwrap(), secrets);
    }

    #[test]
    fn a_side_that_is_gone_is_told() {
        let (outside, inside) = UnixStream::pair().unwrap();
        drop(inside);
        assert_eq!(hear(&outside).unwrap().map(|(word, _)| word), None);
        let (outside, inside) = UnixStream::pair().unwrap();
        drop(outside);
        assert!(take(&inside).is_err(), "no secrets are not empty secrets");
    }
}
