"""Every setting, read once. Names that the environment must give have no default."""

from project import environment as env
from project.retention_rules import refuse_broken_promises

ROOT = env.ROOT

SECRET_KEY = env.required("SECRET_KEY")
DEBUG = env.flag("DEBUG")
DEMONSTRATION = env.flag("DEMONSTRATION")
"""Demonstration mode: the shop shows the gateway's test cards."""
ALLOWED_HOSTS = env.listed("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = env.listed("CSRF_TRUSTED_ORIGINS")

# --- services and their databases -------------------------------------------------------------------------

SERVICE_NAMES = ("orders", "inventory", "billing", "shipping", "sagas", "notifications", "operations")
_OF_DEFAULT = ("sagas", "operations")
"""Saga records, operators' jobs, users and the admin live in `default`."""

_default = env.database("DATABASE_URL")
if _default is None:
    env.required("DATABASE_URL")
DATABASES = {"default": _default}
SERVICES = {}
"""Each service's database alias. A service without a URL of its own shares `default`."""
for _name in SERVICE_NAMES:
    _own = None if _name in _OF_DEFAULT else env.database(f"{_name.upper()}_DATABASE_URL")
    if _own is not None:
        DATABASES[_name] = _own
    SERVICES[_name] = _name if _own is not None else "default"

DATABASE_ROUTERS = ["project.routers.ServiceRouter"]
SERVICE = env.text("SERVICE", "")
"""The one service that this process works for; empty for the web, the relay and the command line."""

# --- messages --------------------------------------------------------------------------------------------

BROKER_URL = env.broker_url()
DELIVERY_LIMIT = env.whole("DELIVERY_LIMIT", 20, least=1)
"""After so many deliveries that nobody answered, because each ended its consumer, a message becomes a dead letter."""
HANDLER_MODULES = tuple(f"{name}.handlers" for name in SERVICE_NAMES)
SAGAS = ("sagas.checkout.CHECKOUT_1", "sagas.checkout.CHECKOUT", "sagas.refund.REFUND")
"""Every definition that starts sagas or that running ones still need, as dotted paths."""
RETRY_ATTEMPTS = env.whole("RETRY_ATTEMPTS", 8, least=1)
"""After so many failed attempts a message becomes a dead letter, where its handler declares nothing else."""
RETRY_FIRST_PAUSE = env.number("RETRY_FIRST_PAUSE", 0.2, least=0.001)
RETRY_LONGEST_PAUSE = env.number("RETRY_LONGEST_PAUSE", max(20, RETRY_FIRST_PAUSE), least=RETRY_FIRST_PAUSE)
"""Seconds; the pause doubles from the first to the longest, with jitter. A handler may declare a policy of its own."""
GATEWAY_TIMEOUT = env.number("GATEWAY_TIMEOUT", 5, least=0.1)
CARRIER_PICKUP_AFTER = env.number("CARRIER_PICKUP_AFTER", 3600, least=0)
"""Seconds after its booking in which a parcel of the demonstration's carrier can still be recalled."""
"""Seconds to connect to a gateway, and again to wait for its answer."""
GATEWAY_LEASE = env.number("GATEWAY_LEASE", 2 * GATEWAY_TIMEOUT + 2, least=2 * GATEWAY_TIMEOUT + 1)
"""Seconds that a delivery may take for its call to a gateway before another delivery may repeat it."""
BREAKER_FAILURES = env.whole("BREAKER_FAILURES", 5, least=1)
"""After so many failed calls in a row a service leaves the gateway alone, and its messages wait."""
BREAKER_FIRST_PAUSE = env.number("BREAKER_FIRST_PAUSE", 1, least=0.001)
BREAKER_LONGEST_PAUSE = env.number(
    "BREAKER_LONGEST_PAUSE", max(30, BREAKER_FIRST_PAUSE), least=BREAKER_FIRST_PAUSE
)
"""Seconds from one probe of such a gateway to the next; the pause doubles from the first to the longest."""
BREAKER_RELEASE_RATE = env.number("BREAKER_RELEASE_RATE", 50, least=0.1)
"""How many waiting messages go on in a second when the gateway answers again."""
STEP_DEADLINE = env.number("STEP_DEADLINE", 60, least=0.1)
"""Seconds from sending a saga step's command until the step is overdue."""
STEP_REPEAT_LONGEST = env.number("STEP_REPEAT_LONGEST", 300, least=0.1)
"""Longest pause, in seconds, between two sendings of a command that is repeated until it is answered."""
RELAY_BATCH = env.whole("RELAY_BATCH", 500, least=1)
RELAY_POLL = env.number("RELAY_POLL", 5, least=0.1)
"""Seconds between looks at the outbox when no notification comes."""
ORCHESTRATOR_BATCH = env.whole("ORCHESTRATOR_BATCH", 50, least=1)
ORDER_PAGE_STREAMS = env.whole("ORDER_PAGE_STREAMS", 24, least=1)
"""How many order pages of one web process may wait for news at once; the others ask again and again."""
WORKER_CONCURRENCY = env.whole("WORKER_CONCURRENCY", 2, least=1)

# --- the operators' desk ---------------------------------------------------------------------------------

REPLAY_RAMP = env.wholes("REPLAY_RAMP", (1, 5, 20), least=1)
"""A bulk replay sends so many letters and waits for the outcome of all, then so many, and at last all others."""
REPLAY_RATE = env.number("REPLAY_RATE", 50, least=0.1, most=1_000_000)
"""Letters a second that a bulk replay sends at most, where whoever starts it asks for nothing else."""
LETTER_EDITING = env.flag("LETTER_EDITING")
"""Whether a dead letter may be edited and replayed, by whoever has the permission for its type."""
LETTER_EDITS_NEED_APPROVAL = env.flag("LETTER_EDITS_NEED_APPROVAL")
"""Whether a second person has to approve an edited letter before it is sent."""

# --- seeing ----------------------------------------------------------------------------------------------

PROCESS_PORT = env.port("PROCESS_PORT")
"""Where a background process answers /metrics, /healthz and /readyz; 0: nowhere."""
PROCESS_HOST = env.text("PROCESS_HOST", "127.0.0.1")
PROCESS_STALL = env.number("PROCESS_STALL", 60, least=5)
"""Seconds after which a main loop that has not turned counts as dead."""
METRICS_TOKEN = env.token("METRICS_TOKEN", least=16)
"""Who reads /metrics shows it; without one, this machine alone may."""

# --- what is kept, and how long --------------------------------------------------------------------------

KEY_RETENTION_DAYS = env.number("KEY_RETENTION_DAYS", 14)
"""A message older than this is not run any more where its key is gone: it becomes a dead letter."""
KEY_DELETION_GRACE = env.number("KEY_DELETION_GRACE", 1800, least=1)
"""Seconds between raising the limit below which keys may be missing and deleting any."""
FAILURE_RETENTION_DAYS = env.number("FAILURE_RETENTION_DAYS", 30)
LETTER_RETENTION_DAYS = env.number("LETTER_RETENTION_DAYS", 90)
"""Of dead letters that are closed; an open one is kept for ever."""
REQUEST_RETENTION_DAYS = env.number("REQUEST_RETENTION_DAYS", 90, least=1)
"""For so long a checkout form, or an API request with its Idempotency-Key, makes one order however often it comes."""
RESULT_RETENTION_DAYS = env.number("RESULT_RETENTION_DAYS", 7)
"""Of operators' jobs."""
PRUNE_BATCH = env.whole("PRUNE_BATCH", 5000, least=1)
"""Rows that pruning deletes in one transaction."""
PRUNE_LONGEST = env.number("PRUNE_LONGEST", 600, least=1, most=1200)
"""Seconds after which a pruning run stops between two batches; the next one goes on."""

# --- gateway and mail ------------------------------------------------------------------------------------

GATEWAY_URL = env.url("GATEWAY_URL")
"""Where services reach the payment gateway."""
GATEWAY_PUBLIC_URL = env.url("GATEWAY_PUBLIC_URL")
"""Where a customer's browser reaches it."""
FLOWER_URL = env.text("FLOWER_URL", "")
globals().update(env.mail())
EMAIL_TIMEOUT = GATEWAY_TIMEOUT
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "Makegood <shop@example.com>")

# --- Django ----------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "project.apps.ProjectConfig",
    "operations",
    "orders",
    "inventory",
    "billing",
    "shipping",
    "sagas",
    "notifications",
    "deadletters",
    "messaging",
    "eventstore",
    "pgtrigger",
    "django_celery_results",
    "csp",
    "project.apps.DeskConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "project.tracing.trace_of_request",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = ROOT / ".dev" / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True

# --- security --------------------------------------------------------------------------------------------

_is_https = IS_BEHIND_PROXY = env.flag("HTTPS")
"""True where a proxy in front speaks TLS: cookies are then sent over HTTPS only."""
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _is_https
SECURE_SSL_REDIRECT = _is_https
SECURE_HSTS_SECONDS = 31_536_000 if _is_https else 0
if _is_https:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'", GATEWAY_PUBLIC_URL],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

# --- logs ------------------------------------------------------------------------------------------------

_log_format = env.one_of("LOG_FORMAT", "text", "json")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"not_readiness": {"()": "project.logs.NotReadiness"}},
    "formatters": {
        "text": {"()": "project.logs.LineFormatter"},
        "json": {"()": "project.logs.JsonFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": _log_format}},
    "root": {"handlers": ["console"], "level": env.text("LOG_LEVEL", "INFO").upper()},
    "loggers": {
        # A shop that is not ready answers 503 to whoever asks; that is its answer and no error.
        "django.request": {"filters": ["not_readiness"]},
        # Two lines for each message that went well: Flower and the admin show them better.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}

# --- Celery ----------------------------------------------------------------------------------------------
# docs/adr/ says for each of these which message is lost, or which worker goes deaf, without it.

CELERY_BROKER_URL = BROKER_URL
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_ACKS_ON_FAILURE = False
CELERY_TASK_ACKS_ON_TIMEOUT = False
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_BACKEND = "django-db"
CELERY_TASK_CREATE_MISSING_QUEUES = False
# A handler that waits for its database is not killed for it; each gateway call has a timeout of its own.
CELERY_TASK_TIME_LIMIT = 1500
CELERY_WORKER_PREFETCH_MULTIPLIER = 4
CELERY_WORKER_CONCURRENCY = WORKER_CONCURRENCY
CELERY_WORKER_DETECT_QUORUM_QUEUES = True
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_SEND_TASK_EVENTS = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = True
# A child that ended without an answer has none on the way: keys make a wrong guess harmless.
CELERY_WORKER_LOST_WAIT = 1
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 10
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_BROKER_HEARTBEAT = 30
# Confirms are for what Celery itself publishes, such as operators' jobs; messages leave through the outbox. The
# timeouts (seconds) are for a worker that says goodbye to a lost connection: a peer that hangs would never answer.
CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True, "read_timeout": 20, "write_timeout": 20}
CELERY_TIMEZONE = "UTC"
# Beat would otherwise name `celery.backend_cleanup` too, which nobody runs: results are pruned with the rest.
CELERY_RESULT_EXPIRES = None
CELERY_RESULT_EXTENDED = True  # with the name of the job
# How long beat may sleep between two looks at its schedule; its /healthz goes by that.
CELERY_BEAT_MAX_LOOP_INTERVAL = 20
CELERY_BEAT_SCHEDULER = "operations.beat:ConfirmingScheduler"

refuse_broken_promises(
    key_retention_days=KEY_RETENTION_DAYS,
    waits={
        "RETRY_ATTEMPTS and RETRY_LONGEST_PAUSE": RETRY_ATTEMPTS * RETRY_LONGEST_PAUSE,
        "STEP_DEADLINE": STEP_DEADLINE,
        "STEP_REPEAT_LONGEST": STEP_REPEAT_LONGEST,
        "GATEWAY_LEASE": GATEWAY_LEASE,
        "CELERY_TASK_TIME_LIMIT": CELERY_TASK_TIME_LIMIT,
        "KEY_DELETION_GRACE": KEY_DELETION_GRACE,
    },
    deletion_grace=KEY_DELETION_GRACE,
    task_time_limit=CELERY_TASK_TIME_LIMIT,
    kept_longer={
        "FAILURE_RETENTION_DAYS": FAILURE_RETENTION_DAYS,
        "LETTER_RETENTION_DAYS": LETTER_RETENTION_DAYS,
    },
)
