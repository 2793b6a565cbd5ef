from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel(
            "Return",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("order", models.IntegerField(unique=True)),
                ("reason", models.TextField()),
            ],
        ),
        migrations.RunSQL(
            "INSERT INTO returns_return (\"order\", reason) SELECT id, 'lost' FROM orders WHERE id <= 2",
        ),
    ]
