"""The Celery application, the same for publishing and for running. What the task does is left to `worker.app`."""

from celery import Celery

from vdmini_serve.contract.keys import TASK_NAME, queue_name
from vdmini_serve.contract.lanes import Lane
from vdmini_serve.contract.settings import Settings


def create_celery(settings: Settings) -> Celery:
    """Make the Celery application.

    Messages carry a job id and nothing else; results live in the job store, so there is no result backend.
    """
    app = Celery("vdmini", broker=settings.broker_url.get_secret_value(), set_as_current=False)
    visibility = settings.visibility_timeout_seconds
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,  # attempts are capped by the job store, so a poison job cannot loop
        task_default_queue=queue_name("t2v"),
        worker_concurrency=1,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_proc_alive_timeout=settings.load_timeout_seconds,  # the default of 4 s kills a child that loads models
        worker_soft_shutdown_timeout=settings.soft_shutdown_seconds,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # the lease and the attempt guard against doubles
        visibility_timeout=visibility,
        result_backend_transport_options={"visibility_timeout": visibility},
        broker_transport_options={
            "visibility_timeout": visibility,
            "unacked_restore_interval": 1,  # otherwise messages of a killed worker come back only every 100 s
            "unacked_restore_throttle": 1,
            "queue_order_strategy": "vdmini_serve.contract.lanes:LaneCycle",
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
        },
        broker_connection_retry_on_startup=True,
    )
    return app


def publish(app: Celery, job_id: str, task: str, lane: Lane) -> None:
    """Send a job's id to the queue of its task and priority."""
    app.send_task(TASK_NAME, args=[job_id], queue=queue_name(task, lane), retry=True, retry_policy={"max_retries": 2})
