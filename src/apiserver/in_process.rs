//! The server for clients in the same process, without a socket.
//!
//! Each request runs in a task of its own: a caller that gives up cancels no write half way, and a panic of a handler
//! is an answer, not the end of the caller.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt as _};

use crate::apiserver::status::ApiError;

/// A service for [`kube::Client::new`]; clones share their tasks.
#[derive(Debug, Clone)]
pub struct InProcess {
    router: Router,
    // Owns every request that runs; `finish` waits for them.
    requests: TaskTracker,
    user_agent: HeaderValue,
}

/// Returns the service that answers with `router`. Requests that name no program are those of `user_agent`, such as
/// `kelos/0.1.0` (empty for none); what stands before the slash becomes the field manager of writes that state none.
pub fn in_process(router: Router, user_agent: &str) -> InProcess {
    let user_agent = HeaderValue::from_str(user_agent).unwrap_or(HeaderValue::from_static("kelos"));
    InProcess { router, requests: TaskTracker::new(), user_agent }
}

impl InProcess {
    /// Answers a request. `held` is dropped when the request was worked on, which does not end with a caller that gives up.
    pub(crate) fn answer<B, H>(
        &self,
        request: Request<B>,
        held: H,
    ) -> impl Future<Output = Response<Body>> + Send + use<B, H>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
        H: Send + 'static,
    {
        let mut request = request.map(Body::new);
        if !self.user_agent.is_empty() {
            request.headers_mut().entry(header::USER_AGENT).or_insert_with(|| self.user_agent.clone());
        }
        let work = self.router.clone().oneshot(request);
        let answer = self.requests.spawn(async move {
            let _held = held;
            work.await
        });
        async move {
            match answer.await {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(error) => {
                    tracing::error!(%error, "A request handler did not finish");
                    ApiError::internal("the request handler did not finish").into_response()
                }
            }
        }
    }

    /// Waits until every request that was begun has its answer. Watches count until their answer begins.
    pub async fn finish(&self) {
        self.requests.close();
        self.requests.wait().await;
    }
}

impl<B> Service<Request<B>> for InProcess
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.answer(request, ()).map(Ok).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::http::{HeaderMap, StatusCode};
    use http_body_util::BodyExt as _;

    use super::*;

    async fn ask(service: &InProcess) -> (u16, String) {
        let request = Request::get("/").body(Body::empty()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let router = Router::new().fallback(|| async {
            assert_eq!(StatusCode::OK, 201, "a fault of the handler");
        });
        let (code, body) = ask(&in_process(router, "kelos/1")).await;
        assert_eq!(code, 500);
        assert!(body.contains("\"reason\":\"InternalError\""), "{body}");
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_cancels_nothing() {
        let (entered, is_entered) = tokio::sync::oneshot::channel::<()>();
        let entered = Arc::new(std::sync::Mutex::new(Some(entered)));
        let done = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&done);
        let router = Router::new().fallback(move || {
            let (entered, done) = (Arc::clone(&entered), Arc::clone(&done));
            async move {
                entered.lock().unwrap().take().unwrap().send(()).unwrap();
                tokio::task::yield_now().await;
                done.store(true, Ordering::SeqCst);
            }
        });
        let service = in_process(router, "kelos/1");
        let request = Request::get("/").body(Body::empty()).unwrap();
        let mut call = service.clone().call(request);
        tokio::select! {
            biased;
            _ = is_entered => {}
            _ = &mut call => {}
        }
        drop(call);
        service.finish().await;
        assert!(seen.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn requests_name_a_program() {
        let router = Router::new().fallback(|headers: HeaderMap| async move {
            headers[header::USER_AGENT].to_str().unwrap().to_owned()
        });
        assert_eq!(ask(&in_process(router, "kelos/1")).await, (200, "kelos/1".to_owned()));
    }
}
