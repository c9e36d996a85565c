"""How gunicorn serves the bare route: the same workers as Tapedeck's, and nothing else."""

import os

bind = f"127.0.0.1:{os.environ['PORT']}"
worker_class = "gthread"
workers = int(os.environ["WEB_WORKERS"])
threads = int(os.environ["WEB_THREADS"])
keepalive = 5
control_socket_disable = True
