//! `POST /predict` as a stream: one JSON object a line in, one answer a line out, in order, as they come.
//!
//! Lines are scored some at a time, several such batches at once. Each waits for room instead of being refused, and nothing
//! is read while too many are under way: a client that sends too fast waits, one that takes no answers is cut off after
//! `--write-timeout`. So a stream of any length takes the same memory.
//!
//! A stream that ends early says why in its last line, a problem without the number of a line: its body broke off, its client
//! has been silent for `--idle-timeout`, or the server stops. It goes on for half of `--shutdown-grace` then, as long as its
//! client is not silent, and what was read by its end is answered.

use std::borrow::Cow;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, Request, header};
use axum::response::Response;
use hyper::body::Frame;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::answer::{ANSWER_BYTES, Answer, ItemProblem};
use super::request::{Id, LineProblem, parse_line};
use crate::serve::app::{App, AppState};
use crate::serve::budget::{Charge, Client};
use crate::serve::compute::request::ScoreRequest;
use crate::serve::http::body::{BROKEN, next_piece};
use crate::serve::http::lines::{Batch, Lines};
use crate::serve::http::packed::Coding;
use crate::serve::http::unpacker::Unpacker;
use crate::serve::http::{KeptOpen, NDJSON, Streamed};
use crate::serve::problem::{Problem, ProblemKind};

/// Fewest batches under way; with more cores, two for each.
const MIN_BATCHES: usize = 4;
/// What a byte of a line costs: itself, the text out of it, an id of four bytes for each of its bytes, twice in windows.
const COST_OF_BYTE: usize = 10;
/// What a line costs besides: its prediction and its answer.
const COST_OF_LINE: usize = 1024;
/// How often room for a batch is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// Silence for which a client that sends has no more to send, once the server stops.
const LULL: Duration = Duration::from_millis(250);
/// How long at least what a client goes on sending is taken after the last line, so that it can read that line, while the server
/// stops; a quarter of `--shutdown-grace` where that is longer.
const FAREWELL: Duration = Duration::from_secs(1);

/// Answers `request`, whose body is a stream of lines.
///
/// # Errors
/// Before anything is answered: 400 where there is no body, 408 where none comes, 415 where it is packed in a way that is
/// not known, 503 where too much is held.
pub async fn answer(app: &AppState, request: Request<Body>) -> Result<Response, Problem> {
    let client = request.extensions().get::<Arc<Client>>().cloned().unwrap_or_default();
    let held = request.extensions().get::<Arc<Charge>>().cloned();
    let open = request.extensions().get::<KeptOpen>().cloned();
    let coding = match Coding::of(request.headers()) {
        Ok(coding) => coding,
        Err(problem) => {
            app.bodies.drain(request).await;
            return Err(problem);
        }
    };
    let charge = app.budget.charge(&client, 0)?;
    let unpacker = coding.map(|coding| Unpacker::new(coding, &charge)).transpose()?;
    let mut body = request.into_body();
    // The first piece before the answer begins: until it is asked for, a client that expects `100 Continue` sends none.
    let first = {
        let _waiting = client.wait();
        app.bodies.first_piece(&mut body).await?
    };
    let depth = (2 * app.scorer.pool().threads()).max(MIN_BATCHES);
    let (sender, batches) = mpsc::channel(depth);
    let lines = Lines::new(app.settings.max_body_bytes);
    let (streamed, end) = (Streamed::default(), app.streams_end());
    let reader = Reader {
        app: app.clone(),
        client,
        charge,
        charged: 0,
        lines,
        unpacker,
        sender,
        end,
        figures: streamed.clone(),
    };
    tokio::spawn(async move {
        reader.run(first, body).await;
        drop(held);
    });
    let mut response = Response::new(Body::new(Answers { batches, current: None, _open: open }));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    response.extensions_mut().insert(streamed);
    Ok(response)
}

/// A batch that is being scored; dropping it gives it up.
struct Scoring(JoinHandle<Bytes>);

impl Drop for Scoring {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The answers as they come, in the order of their lines.
struct Answers {
    batches: mpsc::Receiver<Scoring>,
    current: Option<Scoring>,
    /// The request is open until all is answered.
    _open: Option<KeptOpen>,
}

impl HttpBody for Answers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.current.is_none() {
            self.current = ready!(self.batches.poll_recv(context));
        }
        let Some(current) = &mut self.current else { return Poll::Ready(None) };
        let answers = ready!(Pin::new(&mut current.0).poll(context));
        self.current = None;
        // A batch whose task panicked: the answer ends here, unfinished, which its reader sees.
        Poll::Ready(answers.ok().map(|answers| Ok(Frame::data(answers))))
    }
}

/// Reads a stream and hands its lines on.
struct Reader {
    app: AppState,
    client: Arc<Client>,
    /// What the beginning of an unfinished line takes.
    charge: Charge,
    charged: usize,
    lines: Lines,
    unpacker: Option<Unpacker>,
    sender: mpsc::Sender<Scoring>,
    /// When it has to be over, once the server stops.
    end: watch::Receiver<Option<Instant>>,
    figures: Streamed,
}

/// The client has gone, or the rest of its stream is of no use.
struct Ended;

impl Reader {
    async fn run(mut self, first: Bytes, mut body: Body) {
        let mut batch = Batch::default();
        let outcome = self.read(first, &mut body, &mut batch).await;
        let problem = match outcome {
            Ok(()) => None,
            Err(Some(problem)) => Some(problem),
            Err(None) => return,
        };
        if self.hand_on(&mut batch).await.is_err() {
            return;
        }
        let Some(problem) = problem else { return };
        self.figures.note_problem(problem.kind().problem_type());
        // What goes wrong with the stream itself is its last line.
        let last = tokio::spawn(async move {
            let mut line = Vec::new();
            write(&mut line, &ItemProblem::new(&problem, None, None));
            line.into()
        });
        if self.send(last).await.is_err() {
            return;
        }
        // The answer ends here. A socket that is closed on what its client still sends loses what the client has not read.
        let Self { app, sender, mut end, .. } = self;
        drop(sender);
        let stopped = async {
            let _ = end.wait_for(Option::is_some).await;
            sleep((app.settings.shutdown_grace / 4).max(FAREWELL)).await;
        };
        tokio::select! {
            () = app.bodies.drain_slowly(body) => {}
            () = stopped => {}
        }
    }

    /// Reads to the end; what is not handed on yet stands in `batch`. The problem where the rest is of no use, none where
    /// the client has gone.
    async fn read(
        &mut self,
        first: Bytes,
        body: &mut Body,
        batch: &mut Batch,
    ) -> Result<(), Option<Problem>> {
        let mut piece = first;
        loop {
            self.figures.note_bytes(piece.len());
            self.take(&piece, batch).await?;
            if self.end.borrow().is_some_and(|end| end <= Instant::now()) {
                return Err(Some(self.stopping()));
            }
            // What has come already joins the batch; else those who wait for an answer get theirs.
            let come = match batch.is_empty() {
                true => None,
                false => tokio::select! {
                    biased;
                    next = next_piece(body) => Some(next),
                    () = std::future::ready(()) => None,
                },
            };
            let next = match come {
                Some(next) => next,
                None => {
                    self.hand_on(batch).await.map_err(|Ended| None)?;
                    let _waiting = self.client.wait();
                    tokio::select! {
                        next = next_piece(body) => next,
                        () = self.sender.closed() => return Err(None),
                        () = sleep(self.app.settings.idle_timeout) => return Err(Some(self.silent())),
                        () = lull(self.end.clone()) => return Err(Some(self.stopping())),
                    }
                }
            };
            match next {
                Ok(Some(bytes)) => piece = bytes,
                Ok(None) => break,
                Err(_) => return Err(Some(self.broken())),
            }
        }
        if let Some(unpacker) = &mut self.unpacker {
            let mut rest = Vec::new();
            let finished = unpacker.finish(&mut rest);
            finished.map_err(|problem| self.packed_wrongly(problem))?;
            self.cut(&rest, batch).await?;
        }
        self.lines.finish(batch);
        Ok(())
    }

    /// Nobody hears it but a client that has closed its own direction alone, or whose framing is wrong.
    fn broken(&self) -> Problem {
        self.ended(ProblemKind::Malformed, BROKEN, "send what follows it again")
    }

    fn packed_wrongly(&self, problem: Problem) -> Problem {
        self.ended(problem.kind(), &problem.into_detail(), "send what follows it again")
    }

    fn silent(&self) -> Problem {
        let why = format!("nothing came for {:?}", self.app.settings.idle_timeout);
        self.ended(ProblemKind::BodyTimeout, &why, "an empty line now and then keeps it open")
    }

    fn stopping(&self) -> Problem {
        let why = "the server is shutting down";
        self.ended(ProblemKind::NotReady, why, "send what follows it again, elsewhere")
    }

    /// Why the stream ends before its end, and what to do about it.
    fn ended(&self, kind: ProblemKind, why: &str, advice: &str) -> Problem {
        let line = self.lines.number();
        Problem::new(kind, format!("{why}: the stream ends behind line {line}; {advice}"))
    }

    /// Takes a piece as it came.
    async fn take(&mut self, piece: &[u8], batch: &mut Batch) -> Result<(), Option<Problem>> {
        if self.unpacker.is_none() {
            return self.cut(piece, batch).await;
        }
        let (mut piece, mut plain) = (piece, Vec::new());
        while !piece.is_empty() {
            if let Some(unpacker) = &mut self.unpacker {
                let taken = unpacker.take(piece, &mut plain);
                piece = taken.map_err(|problem| self.packed_wrongly(problem))?;
            }
            self.cut(&plain, batch).await?;
            plain.clear();
        }
        Ok(())
    }

    /// Cuts a piece into lines.
    async fn cut(&mut self, mut piece: &[u8], batch: &mut Batch) -> Result<(), Option<Problem>> {
        loop {
            piece = self.lines.take(piece, batch);
            let kept = self.lines.kept();
            if kept > self.charged {
                self.charge.add(kept - self.charged)?;
                self.charged = kept;
            }
            if batch.is_full() {
                self.hand_on(batch).await.map_err(|Ended| None)?;
            }
            if piece.is_empty() {
                return Ok(());
            }
        }
    }

    /// Has the lines of `batch` scored, when there is room for it; it is empty then.
    async fn hand_on(&mut self, batch: &mut Batch) -> Result<(), Ended> {
        if batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(batch);
        let bytes = COST_OF_BYTE * batch.bytes() + COST_OF_LINE * batch.len();
        let charge = loop {
            match self.app.budget.try_charge(&self.client, bytes) {
                Some(charge) => break charge,
                None if self.sender.is_closed() => return Err(Ended),
                None => tokio::time::sleep(LOOK).await,
            }
        };
        let (app, figures) = (self.app.clone(), self.figures.clone());
        self.send(tokio::spawn(async move { score(&app, &figures, batch, charge).await })).await
    }

    async fn send(&self, task: JoinHandle<Bytes>) -> Result<(), Ended> {
        self.sender.send(Scoring(task)).await.map_err(|_| Ended)
    }
}

/// Ready when a stream whose client is silent has to end because the server stops.
async fn lull(mut end: watch::Receiver<Option<Instant>>) {
    // The state that holds the other side outlives every stream.
    let last = end.wait_for(Option::is_some).await.ok().and_then(|end| *end);
    let _ = timeout(LULL, async {
        match last {
            Some(last) => sleep_until(last).await,
            None => std::future::pending().await,
        }
    })
    .await;
}

/// A line that was read: its number, and its question or what is wrong with it.
type Asked<'a> = (u64, Result<(ScoreRequest<'a>, Option<Id<'static>>), LineProblem>);

/// The answers to the lines of `batch`; held with `charge` until the client has taken them.
async fn score(app: &App, figures: &Streamed, batch: Batch, charge: Charge) -> Bytes {
    let limit = app.settings.max_body_bytes;
    let mut answers = Vec::with_capacity(ANSWER_BYTES * batch.len());
    let (mut group, mut first): (Vec<Asked>, _) = (Vec::new(), None);
    for (number, line) in batch.lines() {
        let asked = (number, read(line, limit));
        if first.is_some_and(|first: usize| !alike(&group[first], &asked)) {
            score_alike(app, std::mem::take(&mut group), &charge, &mut answers).await;
            first = None;
        }
        if asked.1.is_ok() {
            figures.note_texts(1);
            first.get_or_insert(group.len());
        }
        group.push(asked);
    }
    score_alike(app, group, &charge, &mut answers).await;
    // Charged for what they are, where there is room to say so.
    let held = charge.another(answers.len()).unwrap_or(charge);
    held.client().clone().watch(answers.into(), (None, Some(held)))
}

/// What a line asks. Some programs put a mark in front of the first one, which is passed over.
fn read(line: Option<&[u8]>, limit: usize) -> Result<(ScoreRequest<'_>, Option<Id<'static>>), LineProblem> {
    line.map_or_else(
        || {
            let detail = format!("the line is longer than {limit} bytes");
            Err((Problem::new(ProblemKind::TooLarge, detail), None))
        },
        parse_line,
    )
}

/// Whether two lines ask for the same of their texts.
fn alike(one: &Asked, other: &Asked) -> bool {
    match (&one.1, &other.1) {
        (Ok((one, _)), Ok((other, _))) => {
            (&one.model, one.truncate, one.abstain, one.wanted)
                == (&other.model, other.truncate, other.abstain, other.wanted)
        }
        // What cannot be read is in nobody's way.
        _ => true,
    }
}

/// Scores lines that ask for the same, and writes their answers.
async fn score_alike(app: &App, group: Vec<Asked<'_>>, charge: &Charge, answers: &mut Vec<u8>) {
    // What each line becomes: a place among the texts, or a problem.
    let (mut places, mut texts, mut options) = (Vec::with_capacity(group.len()), Vec::new(), None);
    for (number, asked) in group {
        match asked {
            Ok((mut request, id)) => {
                texts.push(request.texts.pop().unwrap_or(Cow::Borrowed("")));
                options.get_or_insert(request);
                places.push((number, id, None));
            }
            Err((problem, id)) => places.push((number, id, Some(problem))),
        }
    }
    let scored = match (options, charge.another(0)) {
        (Some(options), Ok(own)) => {
            let request = ScoreRequest {
                texts,
                list: Some("texts"),
                report: true,
                patient: true,
                charge: Some(own),
                ..options
            };
            app.scorer.score(request).await
        }
        (_, Err(problem)) => Err(problem),
        (None, _) => Err(Problem::new(ProblemKind::Malformed, "")),
    };
    let mut outcomes = scored.as_ref().ok().map(|scored| scored.outcomes());
    for (number, id, problem) in &places {
        let (id, line) = (id.as_ref(), Some(*number));
        let own = match (problem, &scored) {
            (Some(problem), _) | (None, Err(problem)) => {
                write(answers, &ItemProblem::new(problem, id, line));
                continue;
            }
            (None, Ok(scored)) => scored,
        };
        match outcomes.as_mut().and_then(Iterator::next) {
            Some(Ok(place)) => write(answers, &Answer::new(own, place, id)),
            Some(Err(fault)) => {
                let problem = Problem::of_text(&own.faults[fault].1, 0, None);
                write(answers, &ItemProblem::new(&problem, id, line));
            }
            None => unreachable!("every text has an outcome"),
        }
    }
}

fn write(lines: &mut Vec<u8>, line: &impl serde::Serialize) {
    serde_json::to_writer(&mut *lines, line).expect("an answer is plain data");
    lines.push(b'\n');
}
