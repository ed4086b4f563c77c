# One image for every process; docker-compose.yml says which process each container is.

FROM python:3.11-slim-bookworm AS build
RUN python -m venv /opt/venv
COPY requirements.txt .
# Only what is pinned there, and only files with those hashes.
RUN /opt/venv/bin/pip install --no-cache-dir --require-hashes --only-binary=:all: -r requirements.txt

FROM python:3.11-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# The gateway's books are all that a container writes; a new volume takes this folder's owner.
RUN useradd --system --uid 10001 --user-group --no-create-home makegood \
    && install -d -o makegood -g makegood /var/lib/makegood
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY . .
USER makegood
CMD ["gunicorn", "project.wsgi", "-c", "project/gunicorn.py"]
