//! Events as server-sent events (WHATWG HTML, §9.2).

use crate::model::messages::Event;
use axum::{
    body::{Body, Bytes},
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use std::{convert::Infallible, time::Duration};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};

/// A comment goes out when nothing else has for so long, so that a dead listener is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What happens to one plan, to its end. `ended` looks the end up, for a listener so slow that it has missed the event.
pub fn of_plan(
    events: broadcast::Receiver<Event>,
    plan: String,
    ended: impl Fn() -> Option<Event> + Send + 'static,
    stopping: watch::Receiver<bool>,
) -> Response {
    respond(events, Some((plan, Box::new(ended))), stopping)
}

/// Everything that happens, until the listener goes.
pub fn of_all(events: broadcast::Receiver<Event>, stopping: watch::Receiver<bool>) -> Response {
    respond(events, None, stopping)
}

/// A plan's id, and how to look up its end.
type OnePlan = (String, Box<dyn Fn() -> Option<Event> + Send>);

fn respond(events: broadcast::Receiver<Event>, plan: Option<OnePlan>, stopping: watch::Receiver<bool>) -> Response {
    let body = Body::from_stream(lines(events, plan, stopping));
    ([(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")], body).into_response()
}

fn lines(
    mut events: broadcast::Receiver<Event>,
    plan: Option<OnePlan>,
    mut stopping: watch::Receiver<bool>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let (sender, receiver) = mpsc::channel::<String>(64);
    tokio::spawn(async move {
        loop {
            let line = tokio::select! {
                event = events.recv() => match event {
                    Ok(event) if plan.as_ref().is_some_and(|(plan, _)| plan != event.plan()) => continue,
                    Ok(event) => {
                        let over = plan.is_some() && matches!(event, Event::Ended { .. });
                        let sent = sender.send(frame(&event)).await;
                        if over || sent.is_err() {
                            return;
                        }
                        continue;
                    }
                    Err(broadcast::error::RecvError::Lagged(missed)) => match plan.as_ref().and_then(|(_, ended)| ended()) {
                        Some(end) => {
                            // Whoever listens may be gone.
                            sender.send(frame(&end)).await.ok();
                            return;
                        }
                        None => format!(": {missed} events missed\n\n"),
                    },
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                () = tokio::time::sleep(KEEP_ALIVE) => ":\n\n".to_owned(),
                () = stopped(&mut stopping) => return,
                () = sender.closed() => return,
            };
            if sender.send(line).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(receiver).map(|line| Ok(Bytes::from(line)))
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the hub is gone: that is stopping too.
    stopping.wait_for(|stopping| *stopping).await.ok();
}

fn frame(event: &Event) -> String {
    // JSON has no line breaks outside of escapes, so one `data:` line carries it whole.
    format!("data: {}\n\n", serde_json::to_string(event).expect("an event is made of strings and numbers"))
}
