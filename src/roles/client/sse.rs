//! Server-sent events, as much of them as the hub sends: `data:` lines, a blank line after each event, comments to keep
//! the connection alive. An event of a kind that this version does not know is passed over.

use crate::model::{Exit, Failure, messages::Event};
use std::io::{BufRead as _, BufReader, Read};

/// The longest event that is read: 16 MiB, a plan's whole answer with its data.
const EVENT_LIMIT: usize = 16 << 20;
/// The kinds of events that this version knows.
const KNOWN: &[&str] = &["step", "progress", "output", "result", "ended"];

/// The events of a stream, until it ends.
pub struct Events {
    reader: BufReader<Box<dyn Read>>,
    over: bool,
}

impl Events {
    /// The events in what a reader gives.
    pub fn new(reader: Box<dyn Read>) -> Self {
        Self { reader: BufReader::new(reader), over: false }
    }

    /// The next event's data; `None` at the end.
    fn data(&mut self) -> Result<Option<String>, Failure> {
        let mut data = String::new();
        loop {
            let mut line = Vec::new();
            let room = u64::try_from(EVENT_LIMIT - data.len()).unwrap_or_default() + 2;
            let read =
                (&mut self.reader).take(room).read_until(b'\n', &mut line).map_err(|error| lost(&error.to_string()))?;
            let complete = line.ends_with(b"\n");
            if read == 0 || (!complete && line.len() < EVENT_LIMIT - data.len()) {
                return Ok(None);
            }
            if !complete {
                return Err(Failure::new(format!("the hub sent an event of more than {EVENT_LIMIT} bytes")));
            }
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            match line.strip_prefix("data:") {
                Some(text) => {
                    if !data.is_empty() {
                        data.push('\n');
                    }
                    data.push_str(text.strip_prefix(' ').unwrap_or(text));
                }
                None if line.is_empty() && !data.is_empty() => return Ok(Some(data)),
                None => {}
            }
        }
    }
}

impl Iterator for Events {
    type Item = Result<Event, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.over {
            match self.data() {
                Ok(Some(data)) => match event(&data) {
                    Ok(Some(event)) => return Some(Ok(event)),
                    Ok(None) => {}
                    Err(failure) => return Some(Err(failure)),
                },
                Ok(None) => self.over = true,
                Err(failure) => {
                    self.over = true;
                    return Some(Err(failure));
                }
            }
        }
        None
    }
}

/// What is said when the stream ends before the plan does.
pub fn lost(why: &str) -> Failure {
    Failure::new(format!("the connection to the hub was lost: {why}"))
        .detail("the plan goes on there without this connection")
        .exit(Exit::Unreachable)
}

fn event(data: &str) -> Result<Option<Event>, Failure> {
    let broken = |error: &serde_json::Error| Failure::of("reading an event of the hub", error);
    let value: serde_json::Value = serde_json::from_str(data).map_err(|error| broken(&error))?;
    let known = value["event"].as_str().is_some_and(|kind| KNOWN.contains(&kind));
    if !known {
        return Ok(None);
    }
    serde_json::from_value(value).map(Some).map_err(|error| broken(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<Result<Event, Failure>> {
        Events::new(Box::new(std::io::Cursor::new(text.as_bytes().to_vec()))).collect()
    }

    #[test]
    fn events_are_read_whatever_stands_between_them() {
        let text = ": hello\n\nevent: x\nid: 1\ndata: {\"event\":\"step\",\"plan\":\"P\",\r\ndata:\"step\":0,\"targets\":[\"ct/118\"]}\r\n\r\n\
            data: {\"event\":\"future\",\"plan\":\"P\"}\n\ndata: {\"event\":\"step\",\"plan\":\"P\",\"step\":1,\"targets\":[]}\n\n";
        let steps: Vec<usize> = events(text)
            .into_iter()
            .map(|event| match event.unwrap() {
                Event::Step { step, .. } => step,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(steps, [0, 1]);
    }

    #[test]
    fn a_cut_stream_ends_and_a_broken_event_is_an_error() {
        assert!(events("data: {\"event\":\"step\"").is_empty());
        assert!(events("data: {\"event\":\"step\"}\n").is_empty());
        let broken = events("data: {\"event\":\"step\"}\n\n");
        assert!(broken[0].as_ref().unwrap_err().message.contains("missing field"), "{broken:?}");
        assert!(events("data: nonsense\n\n")[0].is_err());
    }
}
